#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/ops/attend/naive.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;  // a tile of tokens, and at least a head's channels

// One sequence and KV head of the cache.
struct Row {
  const AttendArgs& args;
  PageLayout layout;
  int32_t sequence;
  int32_t head;
  int32_t length;

  [[nodiscard]] __device__ bool Quantised(int32_t token) const {
    const KvWindow& window = args.scheme.window;
    return token >= window.sink && token < window.sink + QuantisedTokens(window, length);
  }
  [[nodiscard]] __device__ bool Seen(int32_t token) const {
    const VisibleTokens& visible = args.visible;
    if (visible.window > 0 && token >= visible.sink && token < length - visible.window)
      return false;
    if (args.selection.counts == nullptr || !Quantised(token)) return true;
    for (int32_t i = 0; i < args.selection.counts[sequence]; ++i) {
      if (args.selection.pages[sequence * args.selection.pages_per_sequence + i] ==
          token / kPageTokens)
        return true;
    }
    return false;
  }
  [[nodiscard]] __device__ float Element(KvSide side, int32_t token, int32_t channel) const;
};

__device__ float Decoded(KvElement element, const uint8_t* codes, const CodePlace& place) {
  const uint32_t bits = reinterpret_cast<const uint32_t*>(codes)[place.word] >> place.shift;
  if (element == KvElement::kBf16) return __uint_as_float(bits << 16);
  if (!IsFp8(element)) return static_cast<float>(bits & ((1U << BitsOf(element)) - 1));
  const auto kind = element == KvElement::kE4m3 ? __NV_E4M3 : __NV_E5M2;
  return __half2float(
      __half(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(bits & 0xffU), kind)));
}

__device__ float Row::Element(KvSide side, int32_t token, int32_t channel) const {
  const KvCache& cache = args.cache;
  const KvShape& shape = args.shape.kv;
  const int in_page = token % kPageTokens;
  const bool keys = side == KvSide::kKeys;
  if (!Quantised(token)) {
    const PageLayout window = WindowLayout(shape.head_dim);
    const int32_t page = cache.window_table[sequence * WindowPages(args.scheme.window) +
                                            WindowPageOf(args.scheme.window, token)];
    return Decoded(KvElement::kBf16,
                   cache.window + PageStart(window, shape.kv_heads, page, head) +
                       (keys ? window.keys : window.values).codes,
                   PlaceOf(side, 16, shape.head_dim, in_page, channel));
  }
  const KvPart& part = keys ? args.scheme.keys : args.scheme.values;
  const int32_t page = cache.block_table[sequence * cache.pages_per_sequence + token / kPageTokens];
  const uint8_t* const own = cache.pages + PageStart(layout, shape.kv_heads, page, head);
  const PartLayout& place = keys ? layout.keys : layout.values;
  const uint8_t* const codes =
      part.shares_codes
          ? cache.code_pages + PageStart(cache.code_layout, shape.kv_heads, page, head) +
                (keys ? cache.code_layout.keys : cache.code_layout.values).codes
          : own + place.codes;
  const float code = Decoded(part.element, codes,
                             PlaceOf(side, BitsOf(part.element), shape.head_dim, in_page, channel));
  if (part.element == KvElement::kBf16) return code;
  const int32_t group = GroupOf(part, shape.head_dim, in_page, channel);
  if (IsFp8(part.element)) return reinterpret_cast<const float*>(own + place.scales)[group] * code;
  return __half2float(reinterpret_cast<const __half*>(own + place.scales)[group]) * code +
         __half2float(reinterpret_cast<const __half*>(own + place.zeros)[group]);
}

__device__ float Score(const Row& row, const __nv_bfloat16* query, int32_t token) {
  float score = 0;
  for (int32_t c = 0; c < row.args.shape.kv.head_dim; ++c)
    score += __bfloat162float(query[c]) * row.Element(KvSide::kKeys, token, c);
  return row.args.softmax_scale * score;
}

// One block for one sequence and query head.
__global__ void __launch_bounds__(kThreads) NaiveKernel(__grid_constant__ const AttendArgs args) {
  __shared__ float weights[kThreads];
  ptx::GridDependencyWait();
  const int32_t query_head = static_cast<int32_t>(blockIdx.x) % args.shape.query_heads;
  const int32_t s = static_cast<int32_t>(blockIdx.x) / args.shape.query_heads;
  const int32_t head_dim = args.shape.kv.head_dim;
  const Row row{.args = args,
                .layout = LayoutOf(args.scheme, head_dim),
                .sequence = s,
                .head = query_head / QueriesPerHead(args.shape),
                .length = args.lengths[s]};
  if (row.length == 0) return;
  const __nv_bfloat16* const query = args.query + s * args.query_stride + query_head * head_dim;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  float largest = -INFINITY;
  float sum = 0;
  float total = 0;
  for (int32_t first = 0; first < row.length; first += kThreads) {
    const int32_t mine = first + thread;
    const bool seen = mine < row.length && row.Seen(mine);
    weights[thread] = seen ? Score(row, query, mine) : -INFINITY;
    __syncthreads();
    const float before = largest;
    for (const float score : weights) largest = fmaxf(largest, score);
    if (largest > before) {
      sum *= expf(before - largest);
      total *= expf(before - largest);
    }
    for (int32_t i = 0; i < kThreads && first + i < row.length; ++i) {
      if (weights[i] == -INFINITY) continue;
      const float p = expf(weights[i] - largest);
      total += p;
      if (thread < head_dim) sum += p * row.Element(KvSide::kValues, first + i, thread);
    }
    __syncthreads();
  }
  if (thread < head_dim)
    args.out[(static_cast<int64_t>(s) * args.shape.query_heads + query_head) * head_dim + thread] =
        __float2bfloat16(sum / total);
}

}  // namespace

void AttendNaive(const AttendArgs& args, cudaStream_t stream) {
  if (args.shape.sequences == 0) return;
  Launch(NaiveKernel,
         {.blocks = args.shape.sequences * args.shape.query_heads, .threads = kThreads}, stream,
         args);
}

}  // namespace moecast::kernels
