// A block has one page of one side of one head: it quantises the page if the page's tokens leave
// the window in this launch or there is none, and writes the bf16 page that takes its place in the
// ring, because only then are the old tokens read. Two pages where a group of keys spans them.
#include <algorithm>

#include "kernels/ops/kv/pack.h"
#include "kernels/ops/kv/page_tile.cuh"
#include "kernels/ops/kv/tile_source.cuh"
#include "kernels/ops/launch.h"

namespace moecast::kernels {
namespace {

struct PackPlan {
  PackArgs args;
  PageLayout layout;
  PageLayout window_layout;
  int32_t pages = 0;  // of a sequence that the grid covers
};

// One sequence's part of the launch, in tokens.
struct Span {
  int sequence;
  int row;          // of its first new token
  int before;       // tokens cached before
  int after;        // and after
  int quantised;    // first token that this launch may quantise
  int to_quantise;  // and the first that it does not
};

__device__ Span SpanOf(const PackArgs& a, int sequence) {
  const int row = a.row_starts[sequence];
  const int after = a.lengths[sequence];
  const int before = after - (a.row_starts[sequence + 1] - row);
  const KvWindow& w = a.scheme.window;
  const int sink = min(w.sink, after);
  return {.sequence = sequence,
          .row = row,
          .before = before,
          .after = after,
          .quantised =
              HasWindow(a.scheme) ? sink + static_cast<int>(QuantisedTokens(w, before)) : before,
          .to_quantise = sink + static_cast<int>(QuantisedTokens(w, after))};
}

template <KvSide kSide, int kHeadDim>
struct Packer {
  static constexpr bool kKeys = kSide == KvSide::kKeys;

  const PackPlan& plan;
  const Span& span;
  int head;
  uint8_t* shared;

  [[nodiscard]] __device__ const __nv_bfloat16* Row(int token) const {
    const PackArgs& a = plan.args;
    const int64_t row = span.row + token - span.before;
    return (kKeys ? a.keys + row * a.key_stride : a.values + row * a.value_stride) +
           head * kHeadDim;
  }

  [[nodiscard]] __device__ uint8_t* QuantisedPage(int token) const {
    const PackArgs& a = plan.args;
    const int64_t page =
        a.cache.block_table[static_cast<int64_t>(span.sequence) * a.cache.pages_per_sequence +
                            token / kPageTokens];
    return a.cache.pages + PageStart(plan.layout, a.shape.kv_heads, page, head);
  }

  [[nodiscard]] __device__ uint8_t* WindowPage(int token) const {
    const PackArgs& a = plan.args;
    const KvWindow& w = a.scheme.window;
    const int64_t page = a.cache.window_table[static_cast<int64_t>(span.sequence) * WindowPages(w) +
                                              WindowPageOf(w, token)];
    return a.cache.window + PageStart(plan.window_layout, a.shape.kv_heads, page, head);
  }

  // Rows `first` to `end`, tokens of the sequence, to the tile whose first token is `start`.
  __device__ void LoadRows(int start, int first, int end) const {
    const int64_t stride = kKeys ? plan.args.key_stride : plan.args.value_stride;
    for (int page = start; page < end; page += kPageTokens) {  // what the window gives up
      const int from = max(page, first);
      const int to = min(min(page + kPageTokens, end), span.before);
      if (from < to)
        UnpackRows<kSide, kHeadDim>(shared, from - start, to - from,
                                    WindowPage(page) + (kKeys ? plan.window_layout.keys.codes
                                                              : plan.window_layout.values.codes));
    }
    const int fresh = max(first, span.before);
    if (fresh < end) CopyRows<kHeadDim>(shared, fresh - start, end - fresh, Row(fresh), stride);
    CompleteRows();
  }

  // Quantises the page, or the pages of the group, at `token`.
  __device__ void Quantise(int token) const {
    const KvPart& part = kKeys ? plan.args.scheme.keys : plan.args.scheme.values;
    const int tokens = TileTokens(part);
    const int first = max(token, span.quantised);
    const int end = min(token + tokens, span.to_quantise);
    LoadRows(token, first, end);
    const PageTile<kHeadDim> tile{
        .rows = shared,
        .quantisers = reinterpret_cast<Quantiser*>(shared + tokens * TileRowBytes(kHeadDim)),
        .part = part,
        .layout = kKeys ? plan.layout.keys : plan.layout.values,
        .page = QuantisedPage(token),
        .second_page = tokens > kPageTokens ? QuantisedPage(token + kPageTokens) : nullptr};
    // Only a scheme without a window has a part of a page.
    QuantiseTile<kSide>(tile, first - token, min(end - token, kPageTokens));
    __syncthreads();
  }

  // Writes the new tokens of the bf16 page at `token`.
  __device__ void FillWindow(int token) const {
    const int first = max(token, span.before);
    const int end = min(token + kPageTokens, span.after);
    if (first >= end) return;
    LoadRows(token, first, end);
    const PageTile<kHeadDim> tile{
        .rows = shared,
        .layout = kKeys ? plan.window_layout.keys : plan.window_layout.values,
        .page = WindowPage(token)};
    QuantiseTile<kSide>(tile, first - token, end - token);
    __syncthreads();
  }

  [[nodiscard]] __device__ bool Leaves(int token) const {
    return token + kPageTokens > span.quantised && token < span.to_quantise &&
           token >= plan.args.scheme.window.sink;
  }

  __device__ void Run(int token) const {
    const PackArgs& a = plan.args;
    const KvPart& part = kKeys ? a.scheme.keys : a.scheme.values;
    const int ring = RingPages(a.scheme.window) * kPageTokens;
    if (Leaves(token)) {
      const int tokens = TileTokens(part);
      if (token % tokens != 0) return;  // the block of the page before
      Quantise(token);
      for (int t = token; HasWindow(a.scheme) && t < token + tokens; t += kPageTokens) {
        if (!Leaves(t + ring)) FillWindow(t + ring);
      }
    } else if (token < a.scheme.window.sink || !Leaves(token - ring)) {
      FillWindow(token);
    }
  }
};

template <int kHeadDim>
__global__ void __launch_bounds__(kTileThreads, 8)
    PackKernel(const __grid_constant__ PackPlan plan) {
  extern __shared__ __align__(1024) uint8_t shared[];
  ptx::GridDependencyLaunch();
  ptx::GridDependencyWait();
  const PackArgs& a = plan.args;
  const int heads = a.shape.kv_heads;
  const int block = static_cast<int>(blockIdx.x);
  const Span span = SpanOf(a, block / (heads * 2) / plan.pages);
  if (span.before == span.after) return;
  const int first = min(span.before, max(span.quantised, a.scheme.window.sink));
  const int token = (first / kPageTokens + block / (heads * 2) % plan.pages) * kPageTokens;
  if (token >= span.after) return;
  if (block / heads % 2 == 0)
    Packer<KvSide::kKeys, kHeadDim>{plan, span, block % heads, shared}.Run(token);
  else
    Packer<KvSide::kValues, kHeadDim>{plan, span, block % heads, shared}.Run(token);
}

template <int kHeadDim>
void LaunchPack(const PackArgs& args, cudaStream_t stream) {
  const PackPlan plan{
      .args = args,
      .layout = LayoutOf(args.scheme, kHeadDim),
      .window_layout = WindowLayout(kHeadDim),
      .pages = args.most_new_tokens / kPageTokens + 2 + RingPages(args.scheme.window)};
  const int shared = std::max({TileBytes(args.scheme.keys, kHeadDim),
                               TileBytes(args.scheme.values, kHeadDim), TileBytes({}, kHeadDim)});
  Launch(PackKernel<kHeadDim>,
         {.blocks = args.sequences * plan.pages * 2 * args.shape.kv_heads,
          .threads = kTileThreads,
          .shared_bytes = static_cast<size_t>(shared)},
         stream, plan);
}

}  // namespace

void PackTokens(const PackArgs& args, cudaStream_t stream) {
  args.shape.head_dim == 64 ? LaunchPack<64>(args, stream) : LaunchPack<128>(args, stream);
}

}  // namespace moecast::kernels
