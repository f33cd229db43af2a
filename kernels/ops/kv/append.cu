// Blocks of one launch: first those that store the new rows, a quarter of a row's channels per
// thread in strides of 16, which are the channels whose codes share bytes; then those that flush,
// each a page of one side of one head at a time.
#include <algorithm>

#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/append_row.cuh"
#include "kernels/ops/kv/page_tile.cuh"
#include "kernels/ops/kv/tile_source.cuh"
#include "kernels/ops/launch.h"

namespace moecast::kernels {
namespace {

constexpr int kMostFlushBlocks = 132 * 8;
constexpr unsigned kAll = 0xffffffffU;

// Threads of a block; a block that flushes has one tile.
template <bool kWindow>
constexpr int kThreads = kWindow ? kTileThreads : 256;

// Blocks of a multiprocessor, which the registers of a thread follow from. A launch that fills few
// has more of them for each.
template <bool kWindow>
struct Residency {
  static constexpr int kFew = kWindow ? 6 : 4;
  static constexpr int kMany = 8;
  static constexpr int kMostOfFew = 132 * (kWindow ? 6 : 3);  // blocks of such a launch
};

// What a launch needs beside its arguments.
struct AppendPlan {
  AppendArgs args;
  PageLayout layout;
  PageLayout window_layout;
  int32_t key_warps = 0;  // that store the keys of a sequence
  int32_t warps = 0;      // that store keys and values of a sequence, two at least
  uint32_t inverse = 0;   // 2^32 / warps, rounded up: dividing is multiplying, below 2^32 / warps
};

// Hides from the compiler how the address came about, but not that it is global.
template <class T>
__device__ __forceinline__ uint64_t Have(T*& address) {
  asm volatile("" : "+l"(address));
  __builtin_assume(__isGlobal(address));
  return reinterpret_cast<uint64_t>(address);
}

template <bool kWindow>
__device__ int64_t PageOf(const AppendArgs& a, int sequence, int token) {
  if constexpr (kWindow)
    return a.cache.window_table[static_cast<int64_t>(sequence) * WindowPages(a.scheme.window) +
                                WindowPageOf(a.scheme.window, token)];
  else
    return a.cache.block_table[static_cast<int64_t>(sequence) * a.cache.pages_per_sequence +
                               token / kPageTokens];
}

// The newest token of a sequence, and the page that it goes to.
struct Newest {
  int sequence;
  int token;  // of the sequence; negative: none
  int64_t page;
};

// Where a lane's first piece comes from and goes to.
struct LanePlace {
  const __nv_bfloat16* from;
  uint8_t* to;
  ScalePlace scales;
  bool there;  // false for a lane without a head, which reads another's row and stores nothing

  // Always true, but it takes every address to say so: asked before a wait, they are ready then.
  template <KvElement kElement>
  __device__ __forceinline__ bool Known() {
    uint64_t bits = Have(from) | Have(to);
    if constexpr (kElement != KvElement::kBf16) bits |= Have(scales.scales) | Have(scales.zeros);
    return bits != 0;
  }
};

template <class Pieces, KvElement kElement, int kHeadDim, bool kWindow>
__device__ __forceinline__ LanePlace PlaceOfLane(const AppendPlan& plan, const KvPart& part,
                                                 const Newest& newest, int warp) {
  const AppendArgs& a = plan.args;
  const PageLayout& page_layout = kWindow ? plan.window_layout : plan.layout;
  const PartLayout& layout = Pieces::kKeys ? page_layout.keys : page_layout.values;
  const int token = newest.token & (kPageTokens - 1);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int piece = lane % Pieces::kOfRow;
  const int channel = Pieces::Channel(piece);
  const int head = warp * Pieces::kRows + lane / Pieces::kOfRow;
  const bool there = head < a.shape.kv_heads;
  const int row = there ? head : 0;
  const __nv_bfloat16* const rows = Pieces::kKeys ? a.keys + newest.sequence * a.key_stride
                                                  : a.values + newest.sequence * a.value_stride;
  uint8_t* const page = (kWindow ? a.cache.window : a.cache.pages) +
                        PageStart(page_layout, a.shape.kv_heads, newest.page, row);
  LanePlace place{.from = rows + row * kHeadDim + channel,
                  .to = page + layout.codes + Pieces::Byte(piece, token),
                  .there = there};
  if constexpr (kElement != KvElement::kBf16) {
    // On the token axis: who has groups of channels has a window.
    const int group = (channel >> GroupShift(part)) * kPageTokens + MetadataPlace(token);
    place.scales = {.scales = page + layout.scales + group * (IsInteger(kElement) ? 2 : 4),
                    .zeros = page + layout.zeros + group * 2,
                    .first = there && (channel & (part.group - 1)) == 0,
                    .second = there && ((channel + 32) & (part.group - 1)) == 0};
  }
  return place;
}

// Stores one side of heads warp * Pieces::kRows .. of the sequence.
template <KvSide kSide, KvElement kElement, int kHeadDim, bool kWindow>
__device__ void AppendRows(const AppendPlan& plan, const Newest& newest, int warp) {
  using Pieces = RowPieces<kSide, kElement, kHeadDim>;
  const KvScheme& scheme = plan.args.scheme;
  KvPart part = kWindow ? KvPart{} : (Pieces::kKeys ? scheme.keys : scheme.values);
  part.element = kElement;  // known to the compiler
  LanePlace place = PlaceOfLane<Pieces, kElement, kHeadDim, kWindow>(plan, part, newest, warp);
  if (!place.Known<kElement>()) return;
  ptx::GridDependencyWait();
  if (newest.token < 0) return;
  const bool odd = newest.token % 2 != 0;
  uint32_t bits[Pieces::kRounds][Pieces::kCodes];
  uint2 old[Pieces::kRounds]{};
#pragma unroll
  for (int i = 0; i < Pieces::kRounds; ++i)
    LoadPiece<Pieces>(place.from + i * Pieces::kRoundChannels, bits[i]);
  if (Pieces::kPaired && odd && !part.shares_codes) {
#pragma unroll
    for (int i = 0; i < Pieces::kRounds; ++i)
      old[i] = *reinterpret_cast<const uint2*>(place.to + i * Pieces::kRoundBytes);
  }
#pragma unroll
  for (int i = 0; i < Pieces::kRounds; ++i) {
    if constexpr (kElement != KvElement::kBf16)
      QuantisePiece<Pieces, kElement>(part, place.scales, bits[i]);
    if (place.there && !part.shares_codes)
      StorePiece<Pieces>(place.to + i * Pieces::kRoundBytes, odd, old[i], bits[i]);
  }
}

template <KvSide kSide, int kHeadDim, bool kWindow>
__device__ void AppendSide(const AppendPlan& plan, const Newest& newest, int warp) {
  const auto rows = [&]<KvElement kElement>() {
    AppendRows<kSide, kElement, kHeadDim, kWindow>(plan, newest, warp);
  };
  if constexpr (kWindow) {
    rows.template operator()<KvElement::kBf16>();
  } else {
    const KvScheme& scheme = plan.args.scheme;
    switch (kSide == KvSide::kKeys ? scheme.keys.element : scheme.values.element) {
      case KvElement::kBf16:
        return rows.template operator()<KvElement::kBf16>();
      case KvElement::kE4m3:
        return rows.template operator()<KvElement::kE4m3>();
      case KvElement::kE5m2:
        return rows.template operator()<KvElement::kE5m2>();
      case KvElement::kInt8:
        return rows.template operator()<KvElement::kInt8>();
      default:  // fewer bits have a window
        return rows.template operator()<KvElement::kInt4>();
    }
  }
}

template <int kHeadDim, bool kWindow>
__device__ void AppendWarp(const AppendPlan& plan) {
  const AppendArgs& a = plan.args;
  const int item = static_cast<int>(blockIdx.x * (kThreads<kWindow> / 32) + threadIdx.x / 32);
  const int sequence = static_cast<int>(__umulhi(static_cast<unsigned>(item), plan.inverse));
  if (sequence >= a.sequences) return;
  const int warp = item - sequence * plan.warps;
  Newest newest{.sequence = sequence, .token = a.lengths[sequence] - 1, .page = 0};
  if (newest.token >= 0) newest.page = PageOf<kWindow>(a, sequence, newest.token);
  if (warp < plan.key_warps)
    AppendSide<KvSide::kKeys, kHeadDim, kWindow>(plan, newest, warp);
  else
    AppendSide<KvSide::kValues, kHeadDim, kWindow>(plan, newest, warp - plan.key_warps);
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

// Where the ring has one side of a head of the page of `token`.
__device__ __forceinline__ const uint8_t* RingCodes(const AppendPlan& plan, const FlushItem& item,
                                                    int token) {
  const AppendArgs& a = plan.args;
  const PageLayout& layout = plan.window_layout;
  const int64_t page = PageOf<true>(a, item.sequence, token);
  return a.cache.window + PageStart(layout, a.shape.kv_heads, page, item.head) +
         (item.side == KvSide::kKeys ? layout.keys.codes : layout.values.codes);
}

// The token that a due sequence's flush begins with.
__device__ __forceinline__ int FirstFlushed(const AppendArgs& a, int sequence) {
  return a.lengths[sequence] - a.scheme.window.recent - a.scheme.window.flush;
}

// Loads `tokens` rows of the tile from the ring. The newest token is still on its way there and
// comes from where the others came from.
template <KvSide kSide, int kHeadDim>
__device__ void LoadRing(const AppendPlan& plan, const FlushItem& item, int first, int tokens,
                         uint8_t* rows) {
  const AppendArgs& a = plan.args;
  const int thread = static_cast<int>(threadIdx.x);
  const int newest = a.lengths[item.sequence] - 1 - first;
  const bool takes_newest = newest < tokens && thread < kHeadDim / 8;
  uint4 vector{};
  if (takes_newest) {
    const __nv_bfloat16* const row = kSide == KvSide::kKeys
                                         ? a.keys + item.sequence * a.key_stride
                                         : a.values + item.sequence * a.value_stride;
    vector = ptx::Load(row + item.head * kHeadDim + thread * 8);
  }
  for (int t = 0; t < tokens; t += kPageTokens)
    UnpackRows<kSide, kHeadDim>(rows + t * TileRowBytes(kHeadDim),
                                RingCodes(plan, item, first + t));
  __syncthreads();
  if (newest >= tokens) return;
  if (takes_newest)
    *reinterpret_cast<uint4*>(rows + newest * TileRowBytes(kHeadDim) + thread * 16) = vector;
  __syncthreads();
}

template <KvSide kSide, int kHeadDim>
__device__ void Flush(const AppendPlan& plan, const FlushItem& item, uint8_t* shared) {
  const AppendArgs& a = plan.args;
  const bool keys = kSide == KvSide::kKeys;
  const KvPart& part = keys ? a.scheme.keys : a.scheme.values;
  const int tokens = TileTokens(part);
  if (item.page % (tokens / kPageTokens) != 0) return;  // another item's tile
  const int first = FirstFlushed(a, item.sequence) + item.page * kPageTokens;
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
  QuantiseTile<kSide>(tile, WholePage{});
  __syncthreads();
}

// Which of the items base, base + gridDim.x, ... are due, one of each thread's: its warp's bits in
// `due`. RETURNS: whether any is. Every thread of the block calls it.
__device__ bool FindDue(const AppendArgs& a, int base, uint32_t (&due)[kTileThreads / 32]) {
  const int items = a.sequences * a.shape.kv_heads * 2 * (a.scheme.window.flush / kPageTokens);
  const int thread = static_cast<int>(threadIdx.x);
  const int mine = base + thread * static_cast<int>(gridDim.x);
  const bool is_due =
      mine < items && FlushesAt(a.scheme.window, a.lengths[FlushItemOf(a, mine).sequence]);
  const uint32_t of_warp = __ballot_sync(kAll, is_due);
  if (thread % 32 == 0) due[thread / 32] = of_warp;
  return __syncthreads_or(static_cast<int>(is_due)) != 0;
}

// Has the ring's page of the block's first due item on its way to L2 before the launch in front
// ends.
template <int kHeadDim>
__device__ void PrefetchDue(const AppendPlan& plan, int base,
                            const uint32_t (&due)[kTileThreads / 32]) {
  constexpr int kLineBytes = 128;
  const int at = static_cast<int>(threadIdx.x) * kLineBytes;
  int w = 0;
  while (due[w] == 0) ++w;
  const int first = w * 32 + __ffs(static_cast<int>(due[w])) - 1;
  const FlushItem item = FlushItemOf(plan.args, base + first * static_cast<int>(gridDim.x));
  const int token = FirstFlushed(plan.args, item.sequence) + item.page * kPageTokens;
  if (at < CodeBytes(KvElement::kBf16, kHeadDim))
    ptx::PrefetchL2(RingCodes(plan, item, token) + at);
}

template <int kHeadDim>
__device__ void FlushDue(const AppendPlan& plan, int base, const uint32_t (&due)[kTileThreads / 32],
                         uint8_t* shared) {
  ptx::GridDependencyWait();
  for (int w = 0; w < kTileThreads / 32; ++w) {
    for (uint32_t left = due[w]; left != 0; left &= left - 1) {
      const int bit = w * 32 + __ffs(static_cast<int>(left)) - 1;
      const FlushItem item = FlushItemOf(plan.args, base + bit * static_cast<int>(gridDim.x));
      if (item.side == KvSide::kKeys)
        Flush<KvSide::kKeys, kHeadDim>(plan, item, shared);
      else
        Flush<KvSide::kValues, kHeadDim>(plan, item, shared);
    }
  }
}

template <int kHeadDim, bool kWindow, int kResident>
__global__ void __launch_bounds__(kThreads<kWindow>, kResident)
    AppendKernel(const __grid_constant__ AppendPlan plan) {
  ptx::GridDependencyLaunch();
  if constexpr (kWindow) {
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint32_t due[kTileThreads / 32];
    const AppendArgs& a = plan.args;
    const int items = a.sequences * a.shape.kv_heads * 2 * (a.scheme.window.flush / kPageTokens);
    int base = static_cast<int>(blockIdx.x);
    bool any = FindDue(a, base, due);
    if (any) PrefetchDue<kHeadDim>(plan, base, due);
    AppendWarp<kHeadDim, kWindow>(plan);
    while (true) {
      if (any) FlushDue<kHeadDim>(plan, base, due, shared);
      base += static_cast<int>(gridDim.x) * kTileThreads;
      if (base >= items) return;
      __syncthreads();
      any = FindDue(a, base, due);
    }
  } else {
    AppendWarp<kHeadDim, kWindow>(plan);
  }
}

// Warps that store one side of a sequence's heads: bf16 rows take a warp each, and below 16 bits
// keys and values have as many pieces.
int WarpsOf(KvElement element, const KvShape& shape) {
  const int pieces = shape.head_dim / 2 / UnitChannelTiles(BitsOf(element));
  const int rows = std::max(32 / pieces, 1);
  return (shape.kv_heads + rows - 1) / rows;
}

template <int kHeadDim, bool kWindow>
void LaunchBlocks(const AppendPlan& plan, int blocks, size_t shared_bytes, cudaStream_t stream) {
  using Of = Residency<kWindow>;
  Launch(blocks <= Of::kMostOfFew ? AppendKernel<kHeadDim, kWindow, Of::kFew>
                                  : AppendKernel<kHeadDim, kWindow, Of::kMany>,
         {.blocks = blocks, .threads = kThreads<kWindow>, .shared_bytes = shared_bytes}, stream,
         plan);
}

template <int kHeadDim>
void LaunchAppend(const AppendArgs& args, cudaStream_t stream) {
  const KvScheme& scheme = args.scheme;
  const bool window = HasWindow(scheme);
  const auto warps = [&](const KvPart& part) {
    return WarpsOf(window ? KvElement::kBf16 : part.element, args.shape);
  };
  AppendPlan plan{.args = args,
                  .layout = LayoutOf(scheme, kHeadDim),
                  .window_layout = WindowLayout(kHeadDim),
                  .key_warps = warps(scheme.keys),
                  .warps = warps(scheme.keys) + warps(scheme.values)};
  plan.inverse = ~0U / static_cast<uint32_t>(plan.warps) + 1;
  const auto blocks = [&](int threads) {
    return (args.sequences * plan.warps + threads / 32 - 1) / (threads / 32);
  };
  if (!window) return LaunchBlocks<kHeadDim, false>(plan, blocks(kThreads<false>), 0, stream);
  const int items = args.sequences * args.shape.kv_heads * 2 * (scheme.window.flush / kPageTokens);
  const int shared = std::max(TileBytes(scheme.keys, kHeadDim), TileBytes(scheme.values, kHeadDim));
  LaunchBlocks<kHeadDim, true>(plan,
                               std::max(blocks(kThreads<true>), std::min(items, kMostFlushBlocks)),
                               static_cast<size_t>(shared), stream);
}

}  // namespace

void AppendTokens(const AppendArgs& args, cudaStream_t stream) {
  args.shape.head_dim == 64 ? LaunchAppend<64>(args, stream) : LaunchAppend<128>(args, stream);
}

}  // namespace moecast::kernels
