// The kernel of decode attention: a persistent block per multiprocessor, whose warps each stream
// their own share of the units through their own ring and never wait for each other before the end.
// What a warp finishes alone it writes; what it shares is merged in the block, and what blocks
// share is merged by the last of them to arrive.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/partial.cuh"
#include "kernels/ops/attend/process.cuh"
#include "kernels/ops/launch.h"

namespace moecast::kernels {

inline constexpr int kNoSegment = -1;

/// A warp's units [first, end).
struct UnitShare {
  int32_t first;
  int32_t end;
};

/// Device memory behind AttendArgs::workspace, laid out for all blocks of the card.
template <int kHead, int kTiles>
struct Workspace {
  Partial<kHead, kTiles>* posted;  // [blocks]: of the segment that goes on in the next block
  Partial<kHead, kTiles>* early;   // [blocks][warps]: of a segment begun before
};

template <int kHead, int kTiles>
__device__ __forceinline__ Workspace<kHead, kTiles> WorkspaceAt(const KernelArgs& args) {
  auto* const start = static_cast<uint8_t*>(args.call.workspace);
  return {reinterpret_cast<Partial<kHead, kTiles>*>(start),
          reinterpret_cast<Partial<kHead, kTiles>*>(start + PostedBytes(args.card_blocks))};
}

/// What a thread knows of the launch.
template <int kHead, int kTiles>
struct Block {
  const KernelArgs& args;
  BlockShared& shared;
  UnitTables tables;
  uint8_t* memory;  // shared, from its start
  int32_t units;    // of all
  int blocks;       // that take part
  int32_t first;    // units of this block
  int32_t end;

  [[nodiscard]] __device__ __forceinline__ uint8_t* Ring(int warp) const {
    return memory + args.block.rings + warp * args.block.slots * args.block.slot_bytes;
  }
  /// The last result of a warp lies in its ring, which is empty by then.
  [[nodiscard]] __device__ __forceinline__ Partial<kHead, kTiles>& LastOf(int warp) const {
    return *reinterpret_cast<Partial<kHead, kTiles>*>(Ring(warp));
  }
  [[nodiscard]] __device__ __forceinline__ Partial<kHead, kTiles>& EarlyOf(int warp) const {
    return WorkspaceAt<kHead, kTiles>(args)
        .early[static_cast<int>(blockIdx.x) * MostWarps(kTiles) + warp];
  }
  [[nodiscard]] __device__ __forceinline__ int32_t StartOf(int32_t segment) const {
    const int heads = args.call.shape.kv.kv_heads;
    return SegmentStart(tables.starts, heads, segment / heads, segment % heads);
  }
  [[nodiscard]] __device__ __forceinline__ int32_t EndOf(int32_t segment) const {
    const int sequence = segment / args.call.shape.kv.kv_heads;
    return StartOf(segment) + tables.starts[sequence + 1] - tables.starts[sequence];
  }
  [[nodiscard]] __device__ __forceinline__ const __nv_bfloat16* QueryOf(int32_t segment) const {
    const int heads = args.call.shape.kv.kv_heads;
    return args.call.query + segment / heads * args.call.query_stride +
           segment % heads * QueriesPerHead(args.call.shape) * kHead;
  }
  [[nodiscard]] __device__ __forceinline__ __nv_bfloat16* OutOf(int32_t segment) const {
    return args.call.out + static_cast<int64_t>(segment) * QueriesPerHead(args.call.shape) * kHead;
  }
};

/// Makes the query fit units of `unit`'s kind.
template <int kHead, int kTiles>
__device__ __forceinline__ void TurnTo(const Block<kHead, kTiles>& block, const Unit& unit,
                                       Running<kHead, kTiles>& run) {
  LoadQuery(block.QueryOf(unit.segment), QueriesPerHead(block.args.call.shape), run);
  const KvPart& keys = block.args.call.scheme.keys;
  if (unit.slab() || keys.element == KvElement::kBf16) return;
  ConvertQuery(block.args.units, run);
  if (IsInteger(keys.element) && keys.axis == ScaleAxis::kToken) SumQuery(block.args.units, run);
}

/// Hands over what the warp has of `segment`: all of it, or a part for others to merge. `early`:
/// the warp's ring is still in use.
template <int kHead, int kTiles>
__device__ __forceinline__ void Leave(const Block<kHead, kTiles>& block, int32_t segment, bool slab,
                                      bool began, bool ends, bool early,
                                      Running<kHead, kTiles>& run) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const KvScheme& scheme = block.args.call.scheme;
  Complete(block.args.units, slab, scheme.values, run);
  if (began && ends)
    return WriteOut(run, QueriesPerHead(block.args.call.shape), block.OutOf(segment));
  Store(run, early ? block.EarlyOf(warp) : block.LastOf(warp));
  if (threadIdx.x % 32 != 0) return;
  if (!began) block.shared.begun_before[warp] = segment;
  if (!ends) block.shared.ends_later[warp] = segment;
  if (early) block.shared.early[warp] = true;
}

/// A warp's work, unit by unit. Everything is called from one place: the first unit's time is that
/// of fetching the instructions.
template <int kHead, int kTiles>
__device__ __forceinline__ void Stream(const Block<kHead, kTiles>& block, const UnitShare& share) {
  const KernelArgs& args = block.args;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const bool requests = threadIdx.x % 32 == 0;
  const int slots = args.block.slots;
  const UnitRing ring{block.Ring(warp), block.shared.full[warp], ptx::EvictFirst()};
  const uint32_t base = ptx::SharedAddress(ring.slots);
  const float factor = args.call.softmax_scale * 1.44269504F;  // log2 e
  const int32_t count = share.end - share.first;
  UnitQueue queue(args.call, block.tables, share.first, count);
  Running<kHead, kTiles> run;
  int32_t segment = kNoSegment;
  bool slab = false;
  bool began = false;
  bool ends = false;
  int at = 0;
  uint32_t parity = 0;
  int32_t requested = 0;
  int request_at = 0;
  for (int32_t i = 0;; ++i) {
    queue.Advance(i);
#pragma unroll 1
    for (; requested < count && requested < i + slots; ++requested) {
      const Unit unit = queue.Peek(requested);
      if (requests) Request(args, ring, unit, request_at);
      if (++request_at == slots) request_at = 0;
    }
    const Unit unit = queue.Peek(Least(i, count - 1));
    const bool same = i < count && unit.segment == segment;
    if (!same) {
      if (segment != kNoSegment) Leave(block, segment, slab, began, ends, i < count, run);
      if (i == count) return;
      Clear(run);
      began = unit.first();
    }
    if (!same || unit.slab() != slab) {
      if (same) ChangeUnits(slab ? args.units.code : args.units.sum, run);
      TurnTo(block, unit, run);
    }
    segment = unit.segment;
    slab = unit.slab();
    ends = unit.last();
    ptx::BarrierWait(&ring.full[at], parity);
    const uint32_t slot = base + static_cast<uint32_t>(at * args.block.slot_bytes);
    if (slab)
      ProcessSlab(unit, slot, factor, run);
    else
      ProcessPage(args, unit, slot, factor, run);
    __syncwarp();
    if (++at == slots) {
      at = 0;
      parity ^= 1U;
    }
  }
}

/// What the block's warps left of one segment; bit w stands for warp w.
struct LeftByWarps {
  int32_t segment;
  uint32_t warps;
  uint32_t early;
};

/// Quad `quad` of what warps left.
template <int kHead, int kTiles>
__device__ __forceinline__ MergedQuad MergeWarps(const Block<kHead, kTiles>& block,
                                                 const LeftByWarps& left, int quad) {
  constexpr int kAtOnce = 4;
  const int softmax = FirstHeadOfQuad<kHead, kTiles>(quad) / 2;
  MergedQuad merged;
  for (uint32_t warps = left.warps; warps != 0;) {
    float4 sums[kAtOnce];
    float4 softmaxes[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      sums[i] = make_float4(0, 0, 0, 0);
      softmaxes[i] = make_float4(kLowest, 0, kLowest, 0);
      if (warps == 0) continue;
      const int warp = __ffs(static_cast<int>(warps)) - 1;
      warps &= warps - 1;
      const Partial<kHead, kTiles>& partial =
          (left.early >> warp & 1U) != 0 ? block.EarlyOf(warp) : block.LastOf(warp);
      sums[i] = partial.sum[quad];
      softmaxes[i] = partial.softmax[softmax];
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) Add(sums[i], softmaxes[i], merged);
  }
  return merged;
}

/// Merges what warps left, with what the blocks before posted if the segment began there, and
/// writes it, or posts it if the segment goes on.
template <int kHead, int kTiles>
__device__ __forceinline__ void Finish(const Block<kHead, kTiles>& block, const LeftByWarps& left) {
  const auto workspace = WorkspaceAt<kHead, kTiles>(block.args);
  const auto index = static_cast<int>(blockIdx.x);
  const int heads = QueriesPerHead(block.args.call.shape);
  const int32_t start = block.StartOf(left.segment);
  const bool goes_on = block.EndOf(left.segment) > block.end;
  const int before =
      goes_on || start >= block.first ? 0 : index - OwnerOf(block.units, block.blocks, start);
  Partial<kHead, kTiles>* const posted = workspace.posted + (index - before);
  for (int quad = static_cast<int>(threadIdx.x); quad < Partial<kHead, kTiles>::kQuads;
       quad += static_cast<int>(blockDim.x)) {
    if (FirstHeadOfQuad<kHead, kTiles>(quad) >= heads) continue;
    MergedQuad merged = MergeWarps(block, left, quad);
    if (goes_on) {
      Post(merged, quad, workspace.posted[index]);
    } else {
      AddPosted(quad, before, posted, merged);
      WriteOut<kHead, kTiles>(merged, quad, heads, block.OutOf(left.segment));
    }
  }
  if (before == 0) return;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 4 * kTiles * before;
       i += static_cast<int>(blockDim.x))
    posted[i / (4 * kTiles)].softmax[i % (4 * kTiles)] = make_float4(0, 0, 0, 0);
}

/// Finishes what the warps of the block left, one segment after the other. One that other blocks
/// began comes last: it may have to wait for them.
template <int kHead, int kTiles>
__device__ __forceinline__ void FinishAll(const Block<kHead, kTiles>& block) {
  constexpr uint32_t kAll = 0xffffffffU;
  const BlockShared& shared = block.shared;
  const int lane = static_cast<int>(threadIdx.x) % 32;  // stands for that warp
  const bool exists = lane < block.args.block.warps;
  const int32_t begun_before = exists ? shared.begun_before[lane] : kNoSegment;
  const int32_t ends_later = exists ? shared.ends_later[lane] : kNoSegment;
  const uint32_t early = __ballot_sync(kAll, exists && shared.early[lane]);
  const uint32_t not_begun = __ballot_sync(kAll, begun_before != kNoSegment);
  uint32_t beginners = __ballot_sync(kAll, ends_later != kNoSegment && ends_later != begun_before);
  bool last = false;
  while (!last) {
    LeftByWarps left;
    last = beginners == 0;
    if (!last) {
      const int beginner = __ffs(static_cast<int>(beginners)) - 1;
      beginners &= beginners - 1;
      left.segment = __shfl_sync(kAll, ends_later, beginner);
      left.warps = __ballot_sync(kAll, begun_before == left.segment);
      left.early = left.warps & early;
      left.warps |= 1U << beginner;
    } else {
      if (not_begun == 0) return;
      left.segment = __shfl_sync(kAll, begun_before, __ffs(static_cast<int>(not_begun)) - 1);
      if (__any_sync(kAll, ends_later == left.segment && begun_before != left.segment)) return;
      left.warps = __ballot_sync(kAll, begun_before == left.segment);
      left.early = left.warps & early;
    }
    Finish(block, left);
  }
}

template <int kHead, int kTiles>
__global__ void __launch_bounds__(32 * MostWarps(kTiles), 1)
    AttendKernel(__grid_constant__ const KernelArgs args) {
  extern __shared__ __align__(128) uint8_t memory[];
  auto& shared = *reinterpret_cast<BlockShared*>(memory);
  const int warps = args.block.warps;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 < kMostSlots) {
    ptx::BarrierInit(&shared.full[warp][threadIdx.x % 32], 1);
    ptx::BarrierInitFence();
  }
  if (threadIdx.x < kMostWarps) {
    shared.begun_before[threadIdx.x] = shared.ends_later[threadIdx.x] = kNoSegment;
    shared.early[threadIdx.x] = false;
  }
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  UnitTables tables;
  tables.starts = reinterpret_cast<int32_t*>(&shared + 1);
  tables.lengths = tables.starts + args.call.shape.sequences + 1;
  tables.ends_of_pages = tables.lengths + args.call.shape.sequences;
  const int32_t units = CountUnits(args.call, tables);
  const int blocks = BlocksFor(units, args.call.shape.sequences * args.call.shape.kv.kv_heads,
                               static_cast<int>(gridDim.x), warps);
  const auto index = static_cast<int>(blockIdx.x);
  if (index >= blocks) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t start = ShareStart(units, blocks * warps, index * warps + Least(lane, warps));
  const auto start_of = [&](int w) { return __shfl_sync(0xffffffffU, start, w); };
  const Block<kHead, kTiles> block{.args = args,
                                   .shared = shared,
                                   .tables = tables,
                                   .memory = memory,
                                   .units = units,
                                   .blocks = blocks,
                                   .first = start_of(0),
                                   .end = start_of(warps)};
  const UnitShare share{start_of(warp), start_of(warp + 1)};
  if (share.first < share.end) Stream(block, share);
  __syncthreads();
  FinishAll(block);
}

/// For `block.warps` warps on each of `blocks` multiprocessors.
template <int kHead, int kTiles>
void LaunchAttend(const KernelArgs& args, int blocks, cudaStream_t stream) {
  Launch(AttendKernel<kHead, kTiles>,
         {.blocks = blocks,
          .threads = 32 * args.block.warps,
          .shared_bytes = static_cast<size_t>(args.block.bytes)},
         stream, args);
}

}  // namespace moecast::kernels
