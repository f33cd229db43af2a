// Gate product, selection and alignment. See route.h for the shape of the pipeline.
#include <cstddef>
#include <type_traits>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/route.h"

namespace moecast::kernels {
namespace {

constexpr int kBlockK = 32;
constexpr int kTileElements = kFragmentRows * kBlockK;
constexpr int kGateWarps = 8;
constexpr int kGateThreads = kGateWarps * 32;
constexpr int kPitch = kFragmentRows + 1;  // spreads the sums of a token over the banks
constexpr int kBlocksPerWarp = 4;          // column blocks of one warp: a split has 1024 columns
// Up to this many tokens a block of the gate product takes one tile of them: more blocks, each with
// the shortest chain. Above, four tiles share a read of the weights.
constexpr int kOneTileUpTo = 256;
constexpr int kSelectWarps = 8;  // tokens per block of the selection kernel
constexpr int kAlignThreads = kSelectWarps * 32;
constexpr unsigned kAll = 0xffffffffU;

__host__ __device__ constexpr int GateSplitsOf(int hidden) {
  constexpr int kColumns = kGateWarps * kBlocksPerWarp * kBlockK;
  return (hidden + kColumns - 1) / kColumns;
}

// out[t][e] = sum over the block's warps, for the tile's experts and `tokens` tokens.
template <int kTokens>
__device__ void SumWarps(const float (&sums)[kGateWarps][kTokens * kPitch], int tokens, int tile,
                         int experts, float* out) {
  for (int i = static_cast<int>(threadIdx.x); i < tokens * kFragmentRows; i += kGateThreads) {
    const int expert = tile * kFragmentRows + i % kFragmentRows;
    const int token = i / kFragmentRows;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kGateWarps; ++w) sum += sums[w][token * kPitch + i % kFragmentRows];
    if (expert < experts) out[static_cast<size_t>(token) * experts + expert] = sum;
  }
}

// partial[split][t][e] for one 16-expert tile, one split and up to kTokens tokens; the warps share
// the split's columns. The weights depend on no earlier kernel, so they are on their way before the
// wait.
template <int kTokens>
__global__ void __launch_bounds__(kGateThreads)
    GateKernel(ExpertShape shape, const __nv_bfloat16* __restrict__ x,
               const __nv_bfloat16* __restrict__ gate, float* __restrict__ partial) {
  __shared__ float sums[kGateWarps][kTokens * kPitch];
  const int tiles = (shape.experts + kFragmentRows - 1) / kFragmentRows;
  const int splits = GateSplitsOf(shape.hidden);
  const int tile = static_cast<int>(blockIdx.x) % tiles;
  const int split = static_cast<int>(blockIdx.x) / tiles % splits;
  const int first = static_cast<int>(blockIdx.x) / (tiles * splits) * kTokens;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int k_blocks = shape.hidden / kBlockK;
  const int first_block = (split * kGateWarps + warp) * kBlocksPerWarp;
  const __nv_bfloat16* weights = gate + static_cast<size_t>(tile) * kFragmentRows * shape.hidden;
  uint4 a[kBlocksPerWarp][2] = {};
#pragma unroll
  for (int u = 0; u < kBlocksPerWarp; ++u) {
    if (first_block + u >= k_blocks) break;
    const __nv_bfloat16* fragment =
        weights + static_cast<size_t>(first_block + u) * kTileElements + lane * 8;
    a[u][0] = ptx::LoadCached(fragment);
    a[u][1] = ptx::LoadCached(fragment + kTileElements / 2);
  }
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  float acc[kTokens / 8][4] = {};
#pragma unroll
  for (int j = 0; j < kTokens / 8; ++j) {
    if (first + j * 8 >= shape.tokens) break;
    const __nv_bfloat16* row =
        x + static_cast<size_t>(min(first + j * 8 + lane / 4, shape.tokens - 1)) * shape.hidden;
#pragma unroll
    for (int u = 0; u < kBlocksPerWarp; ++u) {
      if (first_block + u >= k_blocks) break;
      const uint4 b = ptx::LoadCached(row + (first_block + u) * kBlockK + lane % 4 * 8);
      ptx::MmaBf16(acc[j], a[u][0], b.x, b.y);
      ptx::MmaBf16(acc[j], a[u][1], b.z, b.w);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      sums[warp][(j * 8 + lane % 4 * 2 + i % 2) * kPitch + lane / 4 + i / 2 * 8] = acc[j][i];
  }
  __syncthreads();
  float* const out = partial + (static_cast<size_t>(split) * shape.tokens + first) * shape.experts;
  SumWarps<kTokens>(sums, min(kTokens, shape.tokens - first), tile, shape.experts, out);
}

// Order-preserving bits of a float: a larger value has larger bits.
__device__ unsigned OrderedBits(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

template <class Op>
__device__ float WarpReduce(float value, Op op) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = op(value, __shfl_xor_sync(kAll, value, distance));
  return value;
}

// The token's logits, expert e at lane e % 32; sums the gate product's splits.
template <int kPerLane>
__device__ void LoadLogits(const ExpertShape& shape, const float* partial, int splits, int token,
                           float (&logits)[kPerLane]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) logits[i] = i * 32 + lane < shape.experts ? 0.0F : -INFINITY;
  constexpr int kGroup = 64 / kPerLane > 8 ? 8 : 64 / kPerLane;  // splits in flight
  for (int first = 0; first < splits; first += kGroup) {
    float part[kGroup][kPerLane];
#pragma unroll
    for (int s = 0; s < kGroup; ++s) {
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int expert = i * 32 + lane;
        const bool inside = first + s < splits && expert < shape.experts;
        part[s][i] = inside
                         ? __ldcg(&partial[(static_cast<size_t>(first + s) * shape.tokens + token) *
                                               shape.experts +
                                           expert])
                         : 0.0F;
      }
    }
#pragma unroll
    for (int s = 0; s < kGroup; ++s) {
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) logits[i] += part[s][i];
    }
  }
}

struct Softmax {
  float top;            // largest logit
  float sum;            // of exp(logit - top)
  float entropy_ratio;  // entropy over ln E
};

__device__ float Add(float a, float b) { return a + b; }

template <int kPerLane>
__device__ Softmax SoftmaxOf(const float (&logits)[kPerLane], int experts) {
  float top = logits[0];
#pragma unroll
  for (int i = 1; i < kPerLane; ++i) top = fmaxf(top, logits[i]);
  top = WarpReduce(top, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0;
  float weighted = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const float shifted = logits[i] - top;
    const float e = logits[i] == -INFINITY ? 0.0F : __expf(shifted);
    sum += e;
    weighted += e == 0.0F ? 0.0F : e * shifted;
  }
  sum = WarpReduce(sum, Add);
  weighted = WarpReduce(weighted, Add);
  return {top, sum, (__logf(sum) - weighted / sum) / __logf(static_cast<float>(experts))};
}

// Takes the best logit out `top_k` times; lane j gets rank j's expert and its score.
template <int kPerLane>
__device__ void PickTopK(float (&logits)[kPerLane], const Softmax& softmax, int top_k, int& expert,
                         float& score) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int rank = 0; rank < top_k; ++rank) {
    float best = logits[0];
    int where = 0;
#pragma unroll
    for (int i = 1; i < kPerLane; ++i) {
      if (logits[i] > best) best = logits[i], where = i;
    }
    const unsigned bits = __reduce_max_sync(kAll, OrderedBits(best));
    const unsigned holder =
        OrderedBits(best) == bits ? static_cast<unsigned>(where * 32 + lane) : ~0U;
    const unsigned chosen = __reduce_min_sync(kAll, holder);
    const float value = __shfl_sync(kAll, best, static_cast<int>(chosen % 32));
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (static_cast<unsigned>(i * 32 + lane) == chosen) logits[i] = -INFINITY;
    }
    if (lane == rank)
      expert = static_cast<int>(chosen), score = __expf(value - softmax.top) / softmax.sum;
  }
}

// One warp selects the experts of one token. Lane j ends with rank j's expert and weight.
//   chosen_expert  the block's own copy of expert_of_slot, whole when one block has every token
template <int kPerLane>
__device__ void SelectToken(const ExpertShape& shape, const SkipRule& rule, Renormalise renormalise,
                            const RouteBuffers& buffers, int splits, int token,
                            uint16_t* chosen_expert) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float logits[kPerLane];
  LoadLogits(shape, buffers.partial_logits, splits, token, logits);
  const Softmax softmax = SoftmaxOf(logits, shape.experts);
  int expert = shape.experts;
  float score = 0;
  PickTopK(logits, softmax, shape.top_k, expert, score);
  const float best_score = __shfl_sync(kAll, score, 0);
  float mass = score;  // inclusive prefix sum over ranks
#pragma unroll
  for (int distance = 1; distance < kMaxTopK; distance *= 2) {
    const float below = __shfl_up_sync(kAll, mass, static_cast<unsigned>(distance));
    if (lane >= distance) mass += below;
  }
  const float native_mass = __shfl_sync(kAll, mass, shape.top_k - 1);
  const bool kept = lane < shape.top_k && rule.Keeps(lane, score, best_score, mass - score,
                                                     native_mass, softmax.entropy_ratio);
  const float kept_mass = WarpReduce(kept ? score : 0.0F, Add);
  if (lane >= shape.top_k) return;
  const float norm = renormalise == Renormalise::kKept     ? kept_mass
                     : renormalise == Renormalise::kNative ? native_mass
                                                           : 1.0F;
  const int slot = token * shape.top_k + lane;
  if (!kept) expert = shape.experts;
  chosen_expert[slot] = static_cast<uint16_t>(expert);
  buffers.expert_of_slot[slot] = expert;
  buffers.weight_of_slot[slot] = kept ? score / norm : 0.0F;
}

// Shared memory of the alignment.
struct AlignShared {
  uint16_t expert[kMaxSlots];  // of each slot
  int next[kSelectWarps]
          [kMaxExperts];  // first the count, then the next row, per warp's share of the slots
};

// Turns counts into first rows, expert by expert, and lists the active experts. One warp.
__device__ void ScanExperts(const ExpertShape& shape, const RouteBuffers& buffers,
                            AlignShared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int active = 0;
  int offset = 0;
  for (int first = 0; first < shape.experts; first += 32) {
    const int expert = first + lane;
    int count = 0;
#pragma unroll
    for (int w = 0; w < kSelectWarps; ++w)
      count += expert < shape.experts ? shared.next[w][expert] : 0;
    const unsigned used = __ballot_sync(kAll, count > 0);
    int inclusive = count;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int below = __shfl_up_sync(kAll, inclusive, static_cast<unsigned>(distance));
      if (lane >= distance) inclusive += below;
    }
    if (count > 0) {
      const int position = active + __popc(used & ((1U << lane) - 1U));
      int row = offset + inclusive - count;
      buffers.active_experts[position] = expert;
      buffers.offsets[position] = row;
#pragma unroll
      for (int w = 0; w < kSelectWarps; ++w) {
        const int rows = shared.next[w][expert];
        shared.next[w][expert] = row;
        row += rows;
      }
    }
    active += __popc(used);
    offset += __shfl_sync(kAll, inclusive, 31);
  }
  if (lane == 0) buffers.offsets[active] = offset, *buffers.active_count = active;
}

// Gives the slots [begin, end) of this warp their rows, in slot order.
__device__ void Scatter(const ExpertShape& shape, const RouteBuffers& buffers, int begin, int end,
                        AlignShared& shared) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int first = begin; first < end; first += 32) {
    const int slot = first + lane;
    const int expert = slot < end ? shared.expert[slot] : shape.experts;
    const unsigned peers = __match_any_sync(kAll, expert);
    if (expert < shape.experts) {
      const int row = shared.next[warp][expert] + __popc(peers & ((1U << lane) - 1U));
      buffers.slot_token[row] = slot / shape.top_k;
      buffers.position_of_slot[slot] = row;
    } else if (slot < end) {
      buffers.position_of_slot[slot] = -1;
    }
    __syncwarp();
    if (expert < shape.experts && (peers >> lane) == 1U) shared.next[warp][expert] += __popc(peers);
    __syncwarp();
  }
}

// Compacts the kept slots by expert: counts, scan over experts, scatter. Each warp owns a
// contiguous share of the slots, so rows of an expert are in token order and the result is
// deterministic. One block. REQUIRES: shared.next is zero.
__device__ void Align(const ExpertShape& shape, const RouteBuffers& buffers, AlignShared& shared) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int slots = shape.tokens * shape.top_k;
  const int share = ((slots + kSelectWarps - 1) / kSelectWarps + 31) / 32 * 32;
  const int begin = min(warp * share, slots);
  const int end = min(begin + share, slots);
  for (int slot = begin + lane; slot < end; slot += 32) {
    const int expert = gridDim.x == 1 ? shared.expert[slot] : __ldcg(&buffers.expert_of_slot[slot]);
    shared.expert[slot] = static_cast<uint16_t>(expert);
    if (expert < shape.experts) atomicAdd(&shared.next[warp][expert], 1);
  }
  __syncthreads();
  if (warp == 0) ScanExperts(shape, buffers, shared);
  __syncthreads();
  Scatter(shape, buffers, begin, end, shared);
}

template <int kPerLane>
__global__ void __launch_bounds__(kAlignThreads)
    SelectKernel(ExpertShape shape, SkipRule rule, Renormalise renormalise, RouteBuffers buffers,
                 int splits) {
  __shared__ AlignShared shared;
  __shared__ bool last;
  for (int e = static_cast<int>(threadIdx.x); e < kSelectWarps * kMaxExperts; e += kAlignThreads)
    (&shared.next[0][0])[e] = 0;
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  const int token =
      static_cast<int>(blockIdx.x) * kSelectWarps + static_cast<int>(threadIdx.x) / 32;
  if (token < shape.tokens)
    SelectToken<kPerLane>(shape, rule, renormalise, buffers, splits, token, shared.expert);
  if (gridDim.x > 1) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(buffers.blocks_done, 1U) == gridDim.x - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
  } else {
    __syncthreads();
  }
  Align(shape, buffers, shared);
  if (threadIdx.x == 0 && gridDim.x > 1) *buffers.blocks_done = 0;
}

}  // namespace

int GateSplits(int hidden) { return GateSplitsOf(hidden); }

void Route(const ExpertShape& shape, const SkipRule& rule, Renormalise renormalise,
           const __nv_bfloat16* x, const __nv_bfloat16* gate, const RouteBuffers& buffers,
           cudaStream_t stream) {
  const int splits = GateSplits(shape.hidden);
  const int tiles = (shape.experts + kFragmentRows - 1) / kFragmentRows;
  const auto launch_gate = [&](auto tokens) {
    const int groups = (shape.tokens + tokens() - 1) / tokens();
    Launch(GateKernel<tokens()>, {tiles * splits * groups, kGateThreads, 0}, stream, shape, x, gate,
           buffers.partial_logits);
  };
  if (shape.tokens <= kOneTileUpTo)
    launch_gate(std::integral_constant<int, 8>{});
  else
    launch_gate(std::integral_constant<int, 32>{});
  const LaunchShape select{(shape.tokens + kSelectWarps - 1) / kSelectWarps, kAlignThreads, 0};
  if (shape.experts <= 64)
    return Launch(SelectKernel<2>, select, stream, shape, rule, renormalise, buffers, splits);
  if (shape.experts <= 128)
    return Launch(SelectKernel<4>, select, stream, shape, rule, renormalise, buffers, splits);
  if (shape.experts <= 256)
    return Launch(SelectKernel<8>, select, stream, shape, rule, renormalise, buffers, splits);
  return Launch(SelectKernel<kMaxExperts / 32>, select, stream, shape, rule, renormalise, buffers,
                splits);
}

}  // namespace moecast::kernels
