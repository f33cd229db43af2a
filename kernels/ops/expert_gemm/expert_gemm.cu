// Memory-bound expert products. One warp of a block keeps a ring of bulk copies in flight, without
// a pause between units; two groups of four warps take turns at the units and split their columns.
// When an expert has more slots than one group holds, both groups multiply the same stages.
#include <cstddef>

#include "kernels/ops/expert_gemm/chunk.cuh"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_gemm/finish.cuh"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

template <WeightFormat kFormat>
struct alignas(128) Shared {
  using G = Geometry<kFormat>;
  uint8_t ring[G::kStages][G::kStageBytes];
  Partial partial[kGroups];
  uint64_t full[G::kStages];
  uint64_t empty[G::kStages];
  unsigned seen[G::kStages];  // rounds of the ring that a group has waited for
  unsigned ready;             // down passes whose rows of act are there
  bool last;
};

// The copying warp: stage after stage of every pass, as soon as the ring has room. Lane m copies
// row tile m.
template <WeightFormat kFormat>
__device__ void CopyStages(const StreamArgs& args, const ActiveExperts& active,
                           Shared<kFormat>& shared) {
  using G = Geometry<kFormat>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint64_t policy = ptx::EvictFirst();
  unsigned at = 0;
  ForEachPass(args, active, [&](const Pass& pass) {
    const int columns = Columns(args, pass);
    const int tiles = (pass.down ? args.DownUnits() : args.GateUnits()) * kRowTiles;
    const auto* const stored =
        static_cast<const uint8_t*>(pass.down ? args.experts.down : args.experts.gate_up);
    const int tile_bytes = columns / BlockColumns(kFormat) * BlockBytes(kFormat);
    const uint8_t* tile =
        stored + (static_cast<size_t>(pass.expert) * tiles + pass.unit * kRowTiles + lane) *
                     static_cast<size_t>(tile_bytes);
    for (int done = 0; done < tile_bytes; done += G::kTileBytes, ++at) {
      const unsigned slot = at % G::kStages;
      const auto bytes = static_cast<uint32_t>(min(G::kTileBytes, tile_bytes - done));
      ptx::BarrierWait(&shared.empty[slot], at / G::kStages % 2 ^ 1U);
      if (lane == 0) ptx::BarrierArriveExpect(&shared.full[slot], kRowTiles * bytes);
      __syncwarp();
      if (lane < kRowTiles)
        ptx::BulkCopy(shared.ring[slot] + lane * G::kTileBytes, tile + done, bytes,
                      &shared.full[slot], policy);
    }
  });
}

// How a group takes part in a pass.
struct Share {
  int first_slot;
  int slots;
  unsigned at;        // number of the pass's first stage
  uint32_t arrivals;  // of each warp at a stage's `empty`
};

// Waits for stage number `at`. A barrier's parity tells only neighbouring rounds of the ring apart,
// and a group does not wait for the stages of the other's passes; so the round before must have
// been seen by whichever group it was for.
template <WeightFormat kFormat>
__device__ void AwaitStage(unsigned at, Shared<kFormat>& shared) {
  const unsigned slot = at % Geometry<kFormat>::kStages;
  const unsigned round = at / Geometry<kFormat>::kStages;
  volatile unsigned* const seen = &shared.seen[slot];
  while (*seen < round) {
  }
  ptx::BarrierWait(&shared.full[slot], round % 2);
  if (threadIdx.x % kGroupThreads == 0) *seen = round + 1;
}

// A group's share of a pass. Up to 16 tokens the activations of the next stage are requested before
// this one is multiplied.
template <WeightFormat kFormat, int kTiles>
__device__ void MultiplyPass(const StreamArgs& args, const ActiveExperts& active, const Pass& pass,
                             const Share& share, Shared<kFormat>& shared) {
  using G = Geometry<kFormat>;
  constexpr bool kAhead = kTiles <= 2;
  constexpr int kRows = kRowTiles / kTiles;  // row tiles multiplied at once
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  const int warp = static_cast<int>(threadIdx.x) / 32 % kGroupWarps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int columns = Columns(args, pass);
  const __nv_bfloat16* rows[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    // Slots past the end repeat the last one; their results are dropped.
    const int slot = share.first_slot + min(j * kExpertTileRows + lane / 4, share.slots - 1);
    rows[j] = pass.down ? args.act + static_cast<size_t>(slot) * columns
                        : args.x + static_cast<size_t>(active.token[slot]) * columns;
  }
  const float factor = 1 / (pass.down ? args.experts.act_scale : args.experts.x_scale);
  float acc[kRowTiles][kTiles][4] = {};
  unsigned at = share.at;
  Chunk<kFormat, kTiles> chunk;
  LoadChunk(args, pass, rows, warp * G::kChunkColumns, chunk);
  for (int first = warp * G::kChunkColumns; first - warp * G::kChunkColumns < columns;
       first += G::kStageColumns, ++at) {
    Chunk<kFormat, kTiles> next;
    if (kAhead) LoadChunk(args, pass, rows, first + G::kStageColumns, next);
    AwaitStage(at, shared);
    const unsigned slot = at % G::kStages;
    const int steps = (columns - first + 31) / 32;
    if (steps > 0) {
      GroupTerms<kFormat, kTiles> terms;
      Prepare(factor, chunk, terms);
      const uint32_t weights =
          ptx::SharedAddress(shared.ring[slot]) + static_cast<uint32_t>(warp * G::kChunkBytes);
#pragma unroll
      for (int m = 0; m < kRowTiles; m += kRows)
        MultiplyTiles<kFormat, kTiles, kRows>(weights + static_cast<uint32_t>(m * G::kTileBytes),
                                              steps, m % 2, chunk, terms, &acc[m]);
    }
    __syncwarp();
    if (lane == 0) ptx::BarrierArrive(&shared.empty[slot], share.arrivals);
    if (kAhead)
      chunk = next;
    else
      LoadChunk(args, pass, rows, first + G::kStageColumns, chunk);
  }
  Finish(args, pass, ScaleOf<kFormat>(args, pass), share.first_slot, share.slots, acc,
         shared.partial[group]);
}

// With the fewest token tiles that hold the share.
template <WeightFormat kFormat>
__device__ void MultiplyTokens(const StreamArgs& args, const ActiveExperts& active,
                               const Pass& pass, const Share& share, Shared<kFormat>& shared) {
  if (share.slots <= kExpertTileRows)
    return MultiplyPass<kFormat, 1>(args, active, pass, share, shared);
  if (share.slots <= 2 * kExpertTileRows)
    return MultiplyPass<kFormat, 2>(args, active, pass, share, shared);
  MultiplyPass<kFormat, 4>(args, active, pass, share, shared);
}

// The lookout, one lane: finds out for each down pass of this block in turn when its expert's rows
// of act are all there, so that no group waits for memory to learn it.
template <WeightFormat kFormat>
__device__ void LookOut(const StreamArgs& args, const ActiveExperts& active,
                        Shared<kFormat>& shared) {
  unsigned ready = 0;
  ForEachPass(args, active, [&](const Pass& pass) {
    if (!pass.down) return;
    const int passes = (pass.slots_of_expert + kPassSlots - 1) / kPassSlots;
    const auto arrivals = static_cast<uint32_t>(kGroups * args.GateUnits() * passes);
    while (ptx::LoadAcquire(&args.handoff[pass.position]) < arrivals) {
    }
    __threadfence_block();
    *static_cast<volatile unsigned*>(&shared.ready) = ++ready;
  });
}

// The multiplying groups. A pass that fits one group is the next group's turn; a larger one is
// both's.
template <WeightFormat kFormat>
__device__ void Multiply(const StreamArgs& args, const ActiveExperts& active,
                         Shared<kFormat>& shared) {
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  const bool both_products = args.gate_up && args.down;
  unsigned at = 0;
  unsigned down_passes = 0;
  int turn = 0;
  ForEachPass(args, active, [&](const Pass& pass) {
    constexpr int kStageColumns = Geometry<kFormat>::kStageColumns;
    const bool together = pass.slots > kGroupSlots;
    if (pass.down) ++down_passes;
    if (together || turn == group) {
      const int base = together ? group * kGroupSlots : 0;
      const Share share{.first_slot = pass.first_slot + base,
                        .slots = min(pass.slots - base, kGroupSlots),
                        .at = at,
                        .arrivals = together ? 1U : kGroups};
      if (both_products && pass.down) {
        while (*static_cast<volatile unsigned*>(&shared.ready) < down_passes) {
        }
        __threadfence_block();
      }
      MultiplyTokens<kFormat>(args, active, pass, share, shared);
      if (both_products && !pass.down && threadIdx.x % kGroupThreads == 0)
        ptx::AddRelease(&args.handoff[pass.position], share.arrivals);
    }
    if (!together) turn = 1 - turn;
    at += static_cast<unsigned>((Columns(args, pass) + kStageColumns - 1) / kStageColumns);
  });
}

// The block that finishes last leaves the handoff at zero.
__device__ void ResetHandoff(const StreamArgs& args, bool& last) {
  __syncthreads();
  uint32_t* const blocks_done = &args.handoff[args.shape.experts];
  if (threadIdx.x == 0) last = atomicAdd(blocks_done, 1U) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  for (int e = static_cast<int>(threadIdx.x); e <= args.shape.experts; e += kThreads)
    args.handoff[e] = 0;
}

template <WeightFormat kFormat>
__global__ void __launch_bounds__(kThreads, 1)
    StreamKernel(__grid_constant__ const StreamArgs args) {
  extern __shared__ __align__(128) uint8_t memory[];
  auto& shared = *reinterpret_cast<Shared<kFormat>*>(memory);
  auto* const expert = reinterpret_cast<int32_t*>(&shared + 1);
  int32_t* const offset = expert + args.shape.experts;
  if (threadIdx.x < Geometry<kFormat>::kStages) {
    ptx::BarrierInit(&shared.full[threadIdx.x], 1);
    ptx::BarrierInit(&shared.empty[threadIdx.x], kGroups * kGroupWarps);
    shared.seen[threadIdx.x] = 0;
    ptx::BarrierInitFence();
  }
  if (threadIdx.x == 0) shared.ready = 0;
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  for (int e = static_cast<int>(threadIdx.x); e < args.shape.experts; e += kThreads) {
    expert[e] = args.slots.active_experts[e];
    offset[e] = args.slots.offsets[e];
  }
  if (threadIdx.x == 0) offset[args.shape.experts] = args.slots.offsets[args.shape.experts];
  const int slots = args.shape.tokens * args.shape.top_k;
  int32_t* const token = offset + args.shape.experts + 1;
  for (int s = static_cast<int>(threadIdx.x); s < min(slots, kNearSlots); s += kThreads)
    token[s] = args.slots.slot_token[s];
  const ActiveExperts active{expert, offset, slots <= kNearSlots ? token : args.slots.slot_token,
                             *args.slots.active_count};
  __syncthreads();
  if (threadIdx.x < kConsumerThreads) {
    ptx::ClaimRegisters<kConsumerRegisters>();
    Multiply<kFormat>(args, active, shared);
  } else {
    ptx::ReleaseRegisters<kCopyRegisters>();
    if (threadIdx.x < kConsumerThreads + 32) CopyStages<kFormat>(args, active, shared);
    if (threadIdx.x == kConsumerThreads + 32 && args.gate_up && args.down)
      LookOut<kFormat>(args, active, shared);
  }
  if (args.gate_up && args.down) ResetHandoff(args, shared.last);
}

int Multiprocessors() {
  int device = 0;
  int count = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

template <WeightFormat kFormat>
void LaunchAs(const StreamArgs& args, cudaStream_t stream) {
  const size_t tables =
      sizeof(int32_t) * (2 * static_cast<size_t>(args.shape.experts) + 1 + kNearSlots);
  Launch(StreamKernel<kFormat>, {Multiprocessors(), kThreads, sizeof(Shared<kFormat>) + tables},
         stream, args);
}

void LaunchStream(const StreamArgs& args, cudaStream_t stream) {
  switch (args.experts.format) {
    case WeightFormat::kBf16:
      return LaunchAs<WeightFormat::kBf16>(args, stream);
    case WeightFormat::kFp8:
      return LaunchAs<WeightFormat::kFp8>(args, stream);
    case WeightFormat::kFp8Block:
      return LaunchAs<WeightFormat::kFp8Block>(args, stream);
    case WeightFormat::kInt4G32:
      return LaunchAs<WeightFormat::kInt4G32>(args, stream);
    case WeightFormat::kInt4G128:
      return LaunchAs<WeightFormat::kInt4G128>(args, stream);
  }
}

}  // namespace

void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
                  const __nv_bfloat16* x, __nv_bfloat16* act, cudaStream_t stream) {
  LaunchStream({shape, slots, experts, true, false, x, act, nullptr, nullptr}, stream);
}

void Down(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
          const __nv_bfloat16* act, __nv_bfloat16* y, cudaStream_t stream) {
  LaunchStream(
      {shape, slots, experts, false, true, nullptr, const_cast<__nv_bfloat16*>(act), y, nullptr},
      stream);
}

void Experts(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
             const __nv_bfloat16* x, __nv_bfloat16* act, __nv_bfloat16* y, uint32_t* handoff,
             cudaStream_t stream) {
  LaunchStream({shape, slots, experts, true, true, x, act, y, handoff}, stream);
}

void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream) {
  GateUpSwiGlu(shape, slots, StoredExperts{.gate_up = gate_up}, x, act, stream);
}

void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream) {
  Down(shape, slots, StoredExperts{.down = down}, act, y, stream);
}

}  // namespace moecast::kernels
