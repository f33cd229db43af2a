// Blocks of one launch: first those that store the new rows, a quarter of a row's channels per
// thread in strides of 16, which are the channels whose codes share bytes; then those that flush,
// each a page of one side of one head at a time.
#include <algorithm>

#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/page_tile.cuh"
#include "kernels/ops/kv/tile_source.cuh"
#include "kernels/ops/launch.h"

namespace moecast::kernels {
namespace {

constexpr int kMostFlushBlocks = 132 * 8;
constexpr int kOwned = 4;  // channels of a thread
constexpr unsigned kAll = 0xffffffffU;

// What a launch needs beside its arguments.
struct AppendPlan {
  AppendArgs args;
  PageLayout layout;
  PageLayout window_layout;
  int32_t row_blocks = 0;
};

// Where a row goes.
struct Target {
  uint8_t* page;
  PartLayout layout;
  KvPart part;
};

template <bool kWindow>
__device__ Target TargetOf(const AppendPlan& plan, KvSide side, int sequence, int head, int token) {
  const AppendArgs& a = plan.args;
  const PageLayout& layout = kWindow ? plan.window_layout : plan.layout;
  const int64_t page =
      kWindow ? a.cache.window_table[static_cast<int64_t>(sequence) * WindowPages(a.scheme.window) +
                                     WindowPageOf(a.scheme.window, token)]
              : a.cache.block_table[static_cast<int64_t>(sequence) * a.cache.pages_per_sequence +
                                    token / kPageTokens];
  uint8_t* const pool = kWindow ? a.cache.window : a.cache.pages;
  const bool keys = side == KvSide::kKeys;
  return {.page = pool + PageStart(layout, a.shape.kv_heads, page, head),
          .layout = keys ? layout.keys : layout.values,
          .part = kWindow ? KvPart{}
                  : keys  ? a.scheme.keys
                          : a.scheme.values};
}

// The lowest and highest of each half of a thread's channels over their group.
struct Ranges {
  float low[2];
  float high[2];
};

// `lanes` are those of the row.
__device__ Ranges RangesOf(const float (&x)[kOwned], int group, unsigned lanes) {
  Ranges r;
#pragma unroll
  for (int p = 0; p < 2; ++p) {
    r.low[p] = fminf(x[2 * p], x[2 * p + 1]);
    r.high[p] = fmaxf(x[2 * p], x[2 * p + 1]);
  }
  if (group > 32) {
    r.low[0] = r.low[1] = fminf(r.low[0], r.low[1]);
    r.high[0] = r.high[1] = fmaxf(r.high[0], r.high[1]);
  }
  for (int distance = group > 64 ? 16 : 8; distance > 0; distance /= 2) {
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      r.low[p] = fminf(r.low[p], __shfl_xor_sync(lanes, r.low[p], distance));
      r.high[p] = fmaxf(r.high[p], __shfl_xor_sync(lanes, r.high[p], distance));
    }
  }
  return r;
}

template <int kBits>
__device__ void StoreCodes(KvSide side, int head_dim, int token, int channel,
                           const uint32_t (&codes)[kOwned], uint8_t* to) {
  if constexpr (kBits == 4) {
    const CodePlace at = PlaceOf(side, 4, head_dim, token, channel);
    *reinterpret_cast<uint16_t*>(to + at.word * 4 + at.shift / 8) =
        static_cast<uint16_t>(codes[0] | codes[1] << 4 | codes[2] << 8 | codes[3] << 12);
  } else {
#pragma unroll
    for (int j = 0; j < kOwned; ++j) {
      const CodePlace at = PlaceOf(side, kBits, head_dim, token, channel + j * kTile);
      uint8_t* const place = to + at.word * 4 + at.shift / 8;
      if constexpr (kBits == 8)
        *place = static_cast<uint8_t>(codes[j]);
      else
        *reinterpret_cast<uint16_t*>(place) = static_cast<uint16_t>(codes[j]);
    }
  }
}

template <KvElement kElement, int kHeadDim>
__device__ void StoreQuantised(KvSide side, const Target& target, int token, int channel,
                               const float (&x)[kOwned]) {
  const KvPart& part = target.part;
  const unsigned lanes = kHeadDim == 128 ? kAll : 0xffffU << threadIdx.x % 32 / 16 * 16;
  const Ranges range = RangesOf(x, part.group, lanes);
  uint32_t codes[kOwned];
#pragma unroll
  for (int p = 0; p < 2; ++p) {
    StoredScale stored;
    const Quantiser q = QuantiserOf(part, range.low[p], range.high[p], stored);
    const int first = channel + p * 2 * kTile;  // of this thread's in the group
    if (first % part.group == 0)
      StoreScale(part, target.page + target.layout.scales, target.page + target.layout.zeros,
                 GroupOf(part, kHeadDim, token % kPageTokens, first), stored);
#pragma unroll
    for (int j = 2 * p; j < 2 * p + 2; ++j)
      codes[j] = CodePair<kElement>(x[j], 0, q, q) & ((1U << BitsOf(kElement)) - 1);
  }
  if (!part.shares_codes)
    StoreCodes<BitsOf(kElement)>(side, kHeadDim, token % kPageTokens, channel, codes,
                                 target.page + target.layout.codes);
}

// Thread `member` of head_dim / 4 of one row.
template <int kHeadDim, bool kWindow>
__device__ void AppendRow(const AppendPlan& plan, KvSide side, int sequence, int head, int member) {
  const AppendArgs& a = plan.args;
  const int token = a.lengths[sequence] - 1;
  if (token < 0) return;
  const bool keys = side == KvSide::kKeys;
  const __nv_bfloat16* const row =
      (keys ? a.keys + sequence * a.key_stride : a.values + sequence * a.value_stride) +
      head * kHeadDim;
  const int channel = member / kTile * kOwned * kTile + member % kTile;
  __nv_bfloat16 raw[kOwned];
#pragma unroll
  for (int j = 0; j < kOwned; ++j) raw[j] = row[channel + j * kTile];
  const Target target = TargetOf<kWindow>(plan, side, sequence, head, token);
  if (target.part.element == KvElement::kBf16) {
    uint32_t bits[kOwned];
#pragma unroll
    for (int j = 0; j < kOwned; ++j) bits[j] = __bfloat16_as_ushort(raw[j]);
    return StoreCodes<16>(side, kHeadDim, token % kPageTokens, channel, bits,
                          target.page + target.layout.codes);
  }
  if constexpr (!kWindow) {
    float x[kOwned];
#pragma unroll
    for (int j = 0; j < kOwned; ++j) x[j] = __bfloat162float(raw[j]);
    switch (target.part.element) {
      case KvElement::kE4m3:
        return StoreQuantised<KvElement::kE4m3, kHeadDim>(side, target, token, channel, x);
      case KvElement::kE5m2:
        return StoreQuantised<KvElement::kE5m2, kHeadDim>(side, target, token, channel, x);
      case KvElement::kInt8:
        return StoreQuantised<KvElement::kInt8, kHeadDim>(side, target, token, channel, x);
      default:  // fewer bits have a window
        return StoreQuantised<KvElement::kInt4, kHeadDim>(side, target, token, channel, x);
    }
  }
}

// A page of one side of one head that a sequence may have to flush.
struct FlushItem {
  int sequence;
  int page;  // of the flushed
  KvSide side;
  int head;
};

__device__ FlushItem FlushItemOf(const AppendArgs& a, int item) {
  const int heads = a.shape.kv_heads;
  const int pages = a.scheme.window.flush / kPageTokens;
  return {.sequence = item / (heads * 2 * pages),
          .page = item / (heads * 2) % pages,
          .side = item / heads % 2 == 0 ? KvSide::kKeys : KvSide::kValues,
          .head = item % heads};
}

// Loads `tokens` rows of the tile from the ring; the newest token is still on its way there.
template <KvSide kSide, int kHeadDim>
__device__ void LoadRing(const AppendPlan& plan, const FlushItem& item, int first, int tokens,
                         uint8_t* rows) {
  const AppendArgs& a = plan.args;
  const KvWindow& window = a.scheme.window;
  const bool keys = kSide == KvSide::kKeys;
  for (int t = 0; t < tokens; t += kPageTokens) {
    const int64_t page =
        a.cache.window_table[static_cast<int64_t>(item.sequence) * WindowPages(window) +
                             WindowPageOf(window, first + t)];
    const uint8_t* const from =
        a.cache.window + PageStart(plan.window_layout, a.shape.kv_heads, page, item.head) +
        (keys ? plan.window_layout.keys.codes : plan.window_layout.values.codes);
    UnpackRows<kSide, kHeadDim>(rows, t, kPageTokens, from);
  }
  const int newest = a.lengths[item.sequence] - 1 - first;
  if (newest < tokens) {
    __syncthreads();
    CopyRows<kHeadDim>(
        rows, newest, 1,
        (keys ? a.keys + item.sequence * a.key_stride : a.values + item.sequence * a.value_stride) +
            item.head * kHeadDim,
        0);
  }
  CompleteRows();
}

template <KvSide kSide, int kHeadDim>
__device__ void Flush(const AppendPlan& plan, const FlushItem& item, uint8_t* shared) {
  const AppendArgs& a = plan.args;
  const bool keys = kSide == KvSide::kKeys;
  const KvPart& part = keys ? a.scheme.keys : a.scheme.values;
  const int tokens = TileTokens(part);
  if (item.page % (tokens / kPageTokens) != 0) return;  // another item's tile
  const KvWindow& window = a.scheme.window;
  const int first =
      a.lengths[item.sequence] - window.recent - window.flush + item.page * kPageTokens;
  const int32_t* const pages = a.cache.block_table +
                               static_cast<int64_t>(item.sequence) * a.cache.pages_per_sequence +
                               first / kPageTokens;
  const auto page_at = [&](int64_t page) {
    return a.cache.pages + PageStart(plan.layout, a.shape.kv_heads, page, item.head);
  };
  const PageTile<kHeadDim> tile{
      .rows = shared,
      .quantisers = reinterpret_cast<Quantiser*>(shared + tokens * TileRowBytes(kHeadDim)),
      .part = part,
      .layout = keys ? plan.layout.keys : plan.layout.values,
      .page = page_at(pages[0]),
      .second_page = tokens > kPageTokens ? page_at(pages[1]) : nullptr};
  LoadRing<kSide, kHeadDim>(plan, item, first, tokens, shared);
  QuantiseTile<kSide>(tile, 0, kPageTokens);
  __syncthreads();
}

// Items block, block + blocks, ...: thread t looks at the t-th of them, so that finding the ones
// due takes one read of the lengths.
template <int kHeadDim>
__device__ void FlushDue(const AppendPlan& plan, uint8_t* shared) {
  __shared__ uint32_t due[kTileThreads / 32];
  const AppendArgs& a = plan.args;
  const int items = a.sequences * a.shape.kv_heads * 2 * (a.scheme.window.flush / kPageTokens);
  const int blocks = static_cast<int>(gridDim.x) - plan.row_blocks;
  const int block = static_cast<int>(blockIdx.x) - plan.row_blocks;
  const int thread = static_cast<int>(threadIdx.x);
  for (int base = block; base < items; base += blocks * kTileThreads) {
    const int mine = base + thread * blocks;
    const bool is_due =
        mine < items && FlushesAt(a.scheme.window, a.lengths[FlushItemOf(a, mine).sequence]);
    const uint32_t of_warp = __ballot_sync(kAll, is_due);
    if (thread % 32 == 0) due[thread / 32] = of_warp;
    if (__syncthreads_or(static_cast<int>(is_due)) == 0) continue;
    for (int w = 0; w < kTileThreads / 32; ++w) {
      for (uint32_t left = due[w]; left != 0; left &= left - 1) {
        const int bit = w * 32 + __ffs(static_cast<int>(left)) - 1;
        const FlushItem item = FlushItemOf(a, base + bit * blocks);
        if (item.side == KvSide::kKeys)
          Flush<KvSide::kKeys, kHeadDim>(plan, item, shared);
        else
          Flush<KvSide::kValues, kHeadDim>(plan, item, shared);
      }
    }
    __syncthreads();
  }
}

template <int kHeadDim, bool kWindow>
__global__ void __launch_bounds__(kTileThreads, 8)
    AppendKernel(const __grid_constant__ AppendPlan plan) {
  constexpr int kRowThreads = kHeadDim / kOwned;
  ptx::GridDependencyLaunch();
  ptx::GridDependencyWait();
  if constexpr (kWindow) {
    extern __shared__ __align__(1024) uint8_t shared[];
    if (static_cast<int>(blockIdx.x) >= plan.row_blocks) return FlushDue<kHeadDim>(plan, shared);
  }
  const int thread = static_cast<int>(blockIdx.x) * kTileThreads + static_cast<int>(threadIdx.x);
  const int row = thread / kRowThreads;
  const int heads = plan.args.shape.kv_heads;
  if (row >= plan.args.sequences * heads * 2) return;
  AppendRow<kHeadDim, kWindow>(plan, row % 2 == 0 ? KvSide::kKeys : KvSide::kValues,
                               row / 2 / heads, row / 2 % heads, thread % kRowThreads);
}

template <int kHeadDim>
void LaunchAppend(const AppendArgs& args, cudaStream_t stream) {
  AppendPlan plan{.args = args,
                  .layout = LayoutOf(args.scheme, kHeadDim),
                  .window_layout = WindowLayout(kHeadDim)};
  const int rows = args.sequences * args.shape.kv_heads * 2;
  constexpr int kRows = kTileThreads / (kHeadDim / kOwned);  // of a block
  plan.row_blocks = (rows + kRows - 1) / kRows;
  if (!HasWindow(args.scheme))
    return Launch(AppendKernel<kHeadDim, false>,
                  {.blocks = plan.row_blocks, .threads = kTileThreads}, stream, plan);
  const int flush_blocks =
      std::min(rows * (args.scheme.window.flush / kPageTokens), kMostFlushBlocks);
  const int shared =
      std::max(TileBytes(args.scheme.keys, kHeadDim), TileBytes(args.scheme.values, kHeadDim));
  Launch(AppendKernel<kHeadDim, true>,
         {.blocks = plan.row_blocks + flush_blocks,
          .threads = kTileThreads,
          .shared_bytes = static_cast<size_t>(shared)},
         stream, plan);
}

}  // namespace

void AppendTokens(const AppendArgs& args, cudaStream_t stream) {
  args.shape.head_dim == 64 ? LaunchAppend<64>(args, stream) : LaunchAppend<128>(args, stream);
}

}  // namespace moecast::kernels
