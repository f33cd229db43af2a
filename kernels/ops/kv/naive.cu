// A block has one side of one head of one sequence. Groups share words of codes, so a code is set
// by two atomic operations on its bits.
#include "kernels/ops/kv/naive.h"
#include "kernels/ops/kv/quantise.cuh"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kThreads = 128;

struct NaivePlan {
  PackArgs args;  // row_starts == nullptr: row s is the newest token of sequence s
  PageLayout layout;
  PageLayout window_layout;
};

// One side of one head of a sequence.
struct HeadRows {
  const NaivePlan& plan;
  int sequence;
  int head;
  KvSide side;
  int row;     // of the first new token
  int before;  // tokens cached before the launch
  int after;   // and after
  int first;   // tokens [first, end) are quantised
  int end;

  [[nodiscard]] __device__ const KvPart& part() const {
    return side == KvSide::kKeys ? plan.args.scheme.keys : plan.args.scheme.values;
  }
  [[nodiscard]] __device__ const PartLayout& LayoutIn(const PageLayout& page) const {
    return side == KvSide::kKeys ? page.keys : page.values;
  }
  [[nodiscard]] __device__ uint8_t* Page(int token) const {
    const KvCache& cache = plan.args.cache;
    const int64_t page =
        cache.block_table[static_cast<int64_t>(sequence) * cache.pages_per_sequence +
                          token / kPageTokens];
    return cache.pages + PageStart(plan.layout, plan.args.shape.kv_heads, page, head);
  }
  [[nodiscard]] __device__ uint8_t* WindowCodes(int token) const {
    const KvCache& cache = plan.args.cache;
    const KvWindow& window = plan.args.scheme.window;
    const int64_t page = cache.window_table[static_cast<int64_t>(sequence) * WindowPages(window) +
                                            WindowPageOf(window, token)];
    return cache.window + PageStart(plan.window_layout, plan.args.shape.kv_heads, page, head) +
           LayoutIn(plan.window_layout).codes;
  }
  // bf16 of a token: a new row's, or the window's.
  [[nodiscard]] __device__ uint32_t Bits(int token, int channel) const {
    const PackArgs& a = plan.args;
    if (token < before) {
      const CodePlace at = PlaceOf(side, 16, a.shape.head_dim, token % kPageTokens, channel);
      return reinterpret_cast<const uint32_t*>(WindowCodes(token))[at.word] >> at.shift & 0xffffU;
    }
    const int64_t from = row + token - before;
    const __nv_bfloat16* const rows =
        side == KvSide::kKeys ? a.keys + from * a.key_stride : a.values + from * a.value_stride;
    return __bfloat16_as_ushort(rows[head * a.shape.head_dim + channel]);
  }
  [[nodiscard]] __device__ float Value(int token, int channel) const {
    return __uint_as_float(Bits(token, channel) << 16);
  }
};

__device__ HeadRows RowsOfBlock(const NaivePlan& plan) {
  const PackArgs& a = plan.args;
  const int heads = a.shape.kv_heads;
  const auto block = static_cast<int>(blockIdx.x);
  const int sequence = block / (2 * heads);
  const int after = a.lengths[sequence];
  const bool one = a.row_starts == nullptr;
  const int row = one ? sequence : a.row_starts[sequence];
  const int before = after - (one ? min(after, 1) : a.row_starts[sequence + 1] - row);
  const KvWindow& window = a.scheme.window;
  const int sink = min(window.sink, after);
  return {.plan = plan,
          .sequence = sequence,
          .head = block % heads,
          .side = block / heads % 2 == 0 ? KvSide::kKeys : KvSide::kValues,
          .row = row,
          .before = before,
          .after = after,
          .first = sink + static_cast<int>(QuantisedTokens(window, before)),
          .end = sink + static_cast<int>(QuantisedTokens(window, after))};
}

__device__ uint32_t CodeOf(KvElement element, float x, const Quantiser& q) {
  switch (element) {
    case KvElement::kE4m3:
      return Code<KvElement::kE4m3>(x, q);
    case KvElement::kE5m2:
      return Code<KvElement::kE5m2>(x, q);
    case KvElement::kInt8:
      return Code<KvElement::kInt8>(x, q);
    case KvElement::kInt4:
      return Code<KvElement::kInt4>(x, q);
    case KvElement::kInt2:
      return Code<KvElement::kInt2>(x, q);
    default:
      return Code<KvElement::kInt1>(x, q);
  }
}

__device__ void SetCode(uint8_t* codes, const CodePlace& at, int bits, uint32_t code) {
  uint32_t* const word = reinterpret_cast<uint32_t*>(codes) + at.word;
  atomicAnd(word, ~(((1U << bits) - 1) << at.shift));
  atomicOr(word, code << at.shift);
}

// The quantiser of `tokens` x `channels` values, whose scale goes to every page they are in.
__device__ Quantiser StoreGroupScale(const HeadRows& rows, int token, int channel, int tokens,
                                     int channels) {
  float low = rows.Value(token, channel);
  float high = low;
  for (int i = 1; i < tokens * channels; ++i) {
    const float x = rows.Value(token + i / channels, channel + i % channels);
    low = fminf(low, x);
    high = fmaxf(high, x);
  }
  StoredScale stored;
  const Quantiser q = QuantiserOf(rows.part(), low, high, stored);
  const PartLayout& layout = rows.LayoutIn(rows.plan.layout);
  for (int t = token; t < token + tokens; t += kPageTokens) {
    uint8_t* const page = rows.Page(t);
    StoreScale(rows.part(), page + layout.scales, page + layout.zeros,
               GroupOf(rows.part(), rows.plan.args.shape.head_dim, t % kPageTokens, channel),
               stored);
  }
  return q;
}

__device__ void StoreGroup(const HeadRows& rows, int token, int channel, int tokens, int channels) {
  const KvPart& part = rows.part();
  const int bits = BitsOf(part.element);
  Quantiser q;
  if (part.element != KvElement::kBf16) q = StoreGroupScale(rows, token, channel, tokens, channels);
  if (part.shares_codes) return;
  for (int i = 0; i < tokens * channels; ++i) {
    const int t = token + i / channels;
    const int c = channel + i % channels;
    const uint32_t code = part.element == KvElement::kBf16
                              ? rows.Bits(t, c)
                              : CodeOf(part.element, rows.Value(t, c), q);
    SetCode(rows.Page(t) + rows.LayoutIn(rows.plan.layout).codes,
            PlaceOf(rows.side, bits, rows.plan.args.shape.head_dim, t % kPageTokens, c), bits,
            code);
  }
}

// A thread per group of what leaves the window, or of the new tokens where there is none.
__global__ void __launch_bounds__(kThreads) QuantiseKernel(const __grid_constant__ NaivePlan plan) {
  ptx::GridDependencyWait();
  const HeadRows rows = RowsOfBlock(plan);
  const int head_dim = plan.args.shape.head_dim;
  const KvPart& part = rows.part();
  const int tokens = part.axis == ScaleAxis::kChannel ? part.group : 1;
  const int channels = part.axis == ScaleAxis::kChannel   ? 1
                       : part.element == KvElement::kBf16 ? head_dim
                                                          : part.group;
  const int across = head_dim / channels;
  const int groups = (rows.end - rows.first) / tokens * across;
  for (int i = static_cast<int>(threadIdx.x); i < groups; i += kThreads)
    StoreGroup(rows, rows.first + i / across * tokens, i % across * channels, tokens, channels);
}

// A thread per value of the new tokens that are not quantised.
__global__ void __launch_bounds__(kThreads) WindowKernel(const __grid_constant__ NaivePlan plan) {
  ptx::GridDependencyWait();
  const HeadRows rows = RowsOfBlock(plan);
  const int head_dim = plan.args.shape.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < (rows.after - rows.before) * head_dim;
       i += kThreads) {
    const int token = rows.before + i / head_dim;
    if (token >= plan.args.scheme.window.sink && token < rows.end) continue;
    SetCode(rows.WindowCodes(token),
            PlaceOf(rows.side, 16, head_dim, token % kPageTokens, i % head_dim), 16,
            rows.Bits(token, i % head_dim));
  }
}

}  // namespace

void PackNaive(const PackArgs& args, cudaStream_t stream) {
  const NaivePlan plan{.args = args,
                       .layout = LayoutOf(args.scheme, args.shape.head_dim),
                       .window_layout = WindowLayout(args.shape.head_dim)};
  const LaunchShape shape{.blocks = args.sequences * args.shape.kv_heads * 2, .threads = kThreads};
  Launch(QuantiseKernel, shape, stream, plan);
  if (HasWindow(args.scheme)) Launch(WindowKernel, shape, stream, plan);
}

void AppendNaive(const AppendArgs& args, cudaStream_t stream) {
  PackNaive({.shape = args.shape,
             .scheme = args.scheme,
             .cache = args.cache,
             .sequences = args.sequences,
             .most_new_tokens = 1,
             .lengths = args.lengths,
             .keys = args.keys,
             .values = args.values,
             .key_stride = args.key_stride,
             .value_stride = args.value_stride},
            stream);
}

}  // namespace moecast::kernels
