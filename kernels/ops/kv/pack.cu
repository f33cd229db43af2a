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

template <bool kWindow>
__device__ Span SpanOf(const PackArgs& a, int sequence) {
  const int row = a.row_starts[sequence];
  const int after = a.lengths[sequence];
  const int before = after - (a.row_starts[sequence + 1] - row);
  const KvWindow w = kWindow ? a.scheme.window : KvWindow{};
  const int sink = min(w.sink, after);
  return {.sequence = sequence,
          .row = row,
          .before = before,
          .after = after,
          .quantised = kWindow ? sink + static_cast<int>(QuantisedTokens(w, before)) : before,
          .to_quantise = sink + static_cast<int>(QuantisedTokens(w, after))};
}

template <KvSide kSide, int kHeadDim, bool kWindow>
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

  // Starts copying the new ones of rows `first` to `end`, tokens of the sequence, to the tile at
  // `start`.
  __device__ void CopyNew(int start, int first, int end) const {
    const int fresh = max(first, span.before);
    if (fresh < end)
      CopyRows<kHeadDim>(shared, fresh - start, end - fresh, Row(fresh),
                         kKeys ? plan.args.key_stride : plan.args.value_stride);
  }

  // Copies the others of them, which the window gives up.
  __device__ void UnpackOld(int start, int first, int end) const {
    const int old_end = min(end, span.before);
    if (first >= old_end) return;
    for (int page = start; page < old_end; page += kPageTokens) {
      if (page + kPageTokens > first)
        UnpackRows<kSide, kHeadDim>(shared + (page - start) * TileRowBytes(kHeadDim),
                                    WindowPage(page) + (kKeys ? plan.window_layout.keys.codes
                                                              : plan.window_layout.values.codes));
    }
    __syncthreads();  // new rows go over what else the last page had
  }

  // Quantises the page, or the pages of the group, at `token`.
  __device__ void Quantise(int token) const {
    const KvPart& part = kKeys ? plan.args.scheme.keys : plan.args.scheme.values;
    const int tokens = TileTokens(part);
    const int first = max(token, span.quantised);
    const int end = min(token + tokens, span.to_quantise);
    if constexpr (kWindow) UnpackOld(token, first, end);
    CopyNew(token, first, end);
    const PageTile<kHeadDim> tile{
        .rows = shared,
        .quantisers = reinterpret_cast<Quantiser*>(shared + tokens * TileRowBytes(kHeadDim)),
        .part = part,
        .layout = kKeys ? plan.layout.keys : plan.layout.values,
        .page = QuantisedPage(token),
        .second_page = tokens > kPageTokens ? QuantisedPage(token + kPageTokens) : nullptr};
    CompleteRows();
    // Only a scheme without a window has a part of a page.
    if constexpr (kWindow)
      QuantiseTile<kSide>(tile, WholePage{});
    else
      QuantiseTile<kSide>(tile, PartOfPage{.first = first - token, .end = end - token});
  }

  // Writes the new tokens of the bf16 page at `token`.
  __device__ void FillWindow(int token) const {
    const int first = max(token, span.before);
    const int end = min(token + kPageTokens, span.after);
    if (first >= end) return;
    __syncthreads();  // the tile may be another's still
    CopyNew(token, first, end);
    const PageTile<kHeadDim> tile{
        .rows = shared,
        .layout = kKeys ? plan.window_layout.keys : plan.window_layout.values,
        .page = WindowPage(token)};
    CompleteRows();
    WriteCodes<kSide, ScaleAxis::kToken, KvElement::kBf16>(
        tile, 0, PartOfPage{.first = first - token, .end = end - token});
  }

  // Has the new rows of the page at `token` on their way to L2 before the launch in front ends.
  __device__ void Prefetch(int token) const {
    constexpr int kLineBytes = 128;
    constexpr int kLines = kHeadDim * 2 / kLineBytes;  // of a row
    const int thread = static_cast<int>(threadIdx.x);
    const int mine = max(token, span.before) + thread / kLines;
    if (mine < min(token + kPageTokens, span.after))
      ptx::PrefetchL2(reinterpret_cast<const uint8_t*>(Row(mine)) + thread % kLines * kLineBytes);
  }

  [[nodiscard]] __device__ bool Leaves(int token) const {
    return !kWindow || (token + kPageTokens > span.quantised && token < span.to_quantise &&
                        token >= plan.args.scheme.window.sink);
  }

  // The page at `token`: quantised if it leaves, with the pages of its tile, and then the pages
  // that take their place in the ring filled; else filled, unless it takes the place of one that
  // leaves.
  __device__ void Run(int token) const {
    const KvWindow& window = plan.args.scheme.window;
    const int ring = RingPages(window) * kPageTokens;
    int fill = token;
    int fill_end = token + kPageTokens;
    if (Leaves(token)) {
      const int tokens = TileTokens(kKeys ? plan.args.scheme.keys : plan.args.scheme.values);
      if (token % tokens != 0) return;  // the block of the page before
      Quantise(token);
      fill = token + ring;
      fill_end = fill + tokens;
    } else if (token >= window.sink && Leaves(token - ring)) {
      return;
    }
    if constexpr (kWindow) {
      for (; fill < fill_end; fill += kPageTokens) {
        if (!Leaves(fill)) FillWindow(fill);
      }
    }
  }
};

template <int kHeadDim, bool kWindow>
__global__ void __launch_bounds__(kTileThreads, 8)
    PackKernel(const __grid_constant__ PackPlan plan) {
  extern __shared__ __align__(1024) uint8_t shared[];
  ptx::GridDependencyLaunch();
  const PackArgs& a = plan.args;
  const int heads = a.shape.kv_heads;
  const int side_head = static_cast<int>(blockIdx.x);
  const Span span = SpanOf<kWindow>(a, static_cast<int>(blockIdx.z));
  const int first =
      kWindow ? min(span.before, max(span.quantised, a.scheme.window.sink)) : span.before;
  const int token = (first / kPageTokens + static_cast<int>(blockIdx.y)) * kPageTokens;
  const bool idle = span.before == span.after || token >= span.after;
  // Idle blocks make room at once; one of the launch waits, lest it end before the one in front.
  if (idle && blockIdx.x + blockIdx.y + blockIdx.z > 0) return;
  const auto run = [&]<KvSide kSide>(int head) {
    const Packer<kSide, kHeadDim, kWindow> packer{plan, span, head, shared};
    if (!idle) packer.Prefetch(token);
    ptx::GridDependencyWait();
    if (!idle) packer.Run(token);
  };
  if (side_head < heads)
    run.template operator()<KvSide::kKeys>(side_head);
  else
    run.template operator()<KvSide::kValues>(side_head - heads);
}

template <int kHeadDim>
void LaunchPack(const PackArgs& args, cudaStream_t stream) {
  const PackPlan plan{.args = args,
                      .layout = LayoutOf(args.scheme, kHeadDim),
                      .window_layout = WindowLayout(kHeadDim)};
  const int shared = std::max({TileBytes(args.scheme.keys, kHeadDim),
                               TileBytes(args.scheme.values, kHeadDim), TileBytes({}, kHeadDim)});
  Launch(HasWindow(args.scheme) ? PackKernel<kHeadDim, true> : PackKernel<kHeadDim, false>,
         {.blocks = 2 * args.shape.kv_heads,
          .threads = kTileThreads,
          .shared_bytes = static_cast<size_t>(shared),
          .blocks_y = (args.most_new_tokens + kPageTokens - 2) / kPageTokens + 1 +
                      RingPages(args.scheme.window),
          .blocks_z = args.sequences},
         stream, plan);
}

}  // namespace

void PackTokens(const PackArgs& args, cudaStream_t stream) {
  args.shape.head_dim == 64 ? LaunchPack<64>(args, stream) : LaunchPack<128>(args, stream);
}

}  // namespace moecast::kernels
