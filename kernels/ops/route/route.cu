// Gate product, selection, alignment and combine. See route.h for the shape of the pipeline.
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
constexpr int kBlocksPerWarp = 4;  // column blocks of one warp: a split has 1024 columns
// Up to this many tokens a block of the gate product takes one tile of them: more blocks, each with
// the shortest chain. Above, four tiles share a read of the weights.
constexpr int kOneTileUpTo = 256;
constexpr int kSelectWarps = 8;  // tokens per block of the selection kernel
constexpr int kAlignThreads = kSelectWarps * 32;
constexpr int kCombineThreads = 128;
constexpr int kCombineColumns = kCombineThreads * 8;  // columns of one block of the combine
constexpr unsigned kAll = 0xffffffffU;

__host__ __device__ constexpr int GateSplitsOf(int hidden) {
  constexpr int kColumns = kGateWarps * kBlocksPerWarp * kBlockK;
  return (hidden + kColumns - 1) / kColumns;
}

// partial[split][t][e] for one 16-expert tile, one split and up to kTokens tokens; the warps share
// the split's columns. The weights depend on no earlier kernel, so they are on their way before the
// wait.
template <int kTokens>
__global__ void __launch_bounds__(kGateThreads)
    GateKernel(ExpertShape shape, const __nv_bfloat16* __restrict__ x,
               const __nv_bfloat16* __restrict__ gate, float* __restrict__ partial) {
  constexpr int kPitch = kFragmentRows + 1;  // spreads a token's experts over the banks
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
  const int tokens = min(kTokens, shape.tokens - first);
  for (int e = static_cast<int>(threadIdx.x); e < tokens * kFragmentRows; e += kGateThreads) {
    const int expert = tile * kFragmentRows + e % kFragmentRows;
    const int token = e / kFragmentRows;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kGateWarps; ++w) sum += sums[w][token * kPitch + e % kFragmentRows];
    if (expert < shape.experts)
      partial[(static_cast<size_t>(split) * shape.tokens + first + token) * shape.experts +
              expert] = sum;
  }
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

// One warp selects the experts of one token. Lane j ends with rank j's expert and weight.
//   chosen_expert  the block's own copy of expert_of_slot, whole when one block has every token
template <int kPerLane>
__device__ void SelectToken(const ExpertShape& shape, const SkipRule& rule, Renormalise renormalise,
                            const RouteBuffers& buffers, int splits, int token,
                            uint16_t* chosen_expert) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float logits[kPerLane];
  LoadLogits(shape, buffers.partial_logits, splits, token, logits);
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
  const auto add = [](float a, float b) { return a + b; };
  sum = WarpReduce(sum, add);
  weighted = WarpReduce(weighted, add);
  const float entropy_ratio =
      (__logf(sum) - weighted / sum) / __logf(static_cast<float>(shape.experts));

  int expert = shape.experts;
  float score = 0;
  for (int rank = 0; rank < shape.top_k; ++rank) {
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
    if (lane == rank) expert = static_cast<int>(chosen), score = __expf(value - top) / sum;
  }

  const float best_score = __shfl_sync(kAll, score, 0);
  float mass = score;  // inclusive prefix sum over ranks
#pragma unroll
  for (int distance = 1; distance < kMaxTopK; distance *= 2) {
    const float below = __shfl_up_sync(kAll, mass, static_cast<unsigned>(distance));
    if (lane >= distance) mass += below;
  }
  const float native_mass = __shfl_sync(kAll, mass, shape.top_k - 1);
  const bool kept = lane < shape.top_k &&
                    rule.Keeps(lane, score, best_score, mass - score, native_mass, entropy_ratio);
  const float kept_mass = WarpReduce(kept ? score : 0.0F, add);
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
  if (warp == 0) {
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
  __syncthreads();
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

// One block per token and kCombineColumns columns; a thread owns 8 columns. The rows of kInFlight
// slots are asked for together.
__global__ void __launch_bounds__(kCombineThreads)
    CombineKernel(ExpertShape shape, RouteBuffers buffers, const __nv_bfloat16* __restrict__ y,
                  __nv_bfloat16* __restrict__ out) {
  constexpr int kInFlight = 8;
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  const int chunks = (shape.hidden + kCombineColumns - 1) / kCombineColumns;
  const int token = static_cast<int>(blockIdx.x) / chunks;
  const int column =
      static_cast<int>(blockIdx.x) % chunks * kCombineColumns + static_cast<int>(threadIdx.x) * 8;
  if (column >= shape.hidden) return;
  float sum[8] = {};
  for (int first = 0; first < shape.top_k; first += kInFlight) {
    int row[kInFlight];
    float weight[kInFlight];
    uint4 values[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const bool inside = first + j < shape.top_k;
      const int slot = token * shape.top_k + first + j;
      row[j] = inside ? buffers.position_of_slot[slot] : -1;
      weight[j] = inside ? buffers.weight_of_slot[slot] : 0.0F;
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      values[j] = uint4{};
      if (row[j] >= 0)
        values[j] = *reinterpret_cast<const uint4*>(y + static_cast<size_t>(row[j]) * shape.hidden +
                                                    column);
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&values[j]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        sum[2 * i] += weight[j] * pair.x;
        sum[2 * i + 1] += weight[j] * pair.y;
      }
    }
  }
  __nv_bfloat162 result[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) result[i] = __floats2bfloat162_rn(sum[2 * i], sum[2 * i + 1]);
  *reinterpret_cast<uint4*>(out + static_cast<size_t>(token) * shape.hidden + column) =
      *reinterpret_cast<uint4*>(result);
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

void Combine(const ExpertShape& shape, const RouteBuffers& buffers, const __nv_bfloat16* y,
             __nv_bfloat16* out, cudaStream_t stream) {
  const int chunks = (shape.hidden + kCombineColumns - 1) / kCombineColumns;
  Launch(CombineKernel, {shape.tokens * chunks, kCombineThreads, 0}, stream, shape, buffers, y,
         out);
}

}  // namespace moecast::kernels
