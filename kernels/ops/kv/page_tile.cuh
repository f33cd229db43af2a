// One or two pages of one side of one head on their way into the cache: the tile of bf16 rows in
// shared memory, the ranges of its groups, and its codes. A block of kTileThreads threads works on
// a tile; 64-token halves of it are pages.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/kv/page_layout.h"
#include "kernels/ops/kv/ptx.cuh"
#include "kernels/ops/kv/quantise.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {

inline constexpr int kTileThreads = 128;

/// 16 bytes more than the row, so that eight rows lie in different banks.
constexpr int TileRowBytes(int head_dim) { return head_dim * 2 + 16; }
/// Tokens that one block must see at once.
constexpr int TileTokens(const KvPart& part) {
  return part.axis == ScaleAxis::kChannel && part.group > kPageTokens ? part.group : kPageTokens;
}
/// Shared memory of a block: the rows, then a Quantiser per group.
constexpr int TileGroups(const KvPart& part, int head_dim) {
  return part.element == KvElement::kBf16 ? 0 : TileTokens(part) * head_dim / part.group;
}
constexpr int TileBytes(const KvPart& part, int head_dim) {
  return TileTokens(part) * TileRowBytes(head_dim) +
         TileGroups(part, head_dim) * static_cast<int>(sizeof(Quantiser));
}

/// A tile and where it goes.
template <int kHeadDim>
struct PageTile {
  static constexpr int kRowBytes = TileRowBytes(kHeadDim);
  static constexpr int kChannelTiles = kHeadDim / kTile;

  uint8_t* rows = nullptr;          // shared, [TileTokens][kRowBytes]
  Quantiser* quantisers = nullptr;  // shared, by group of the tile; a multiple of 16 bytes
  KvPart part = {};
  PartLayout layout = {};
  uint8_t* page = nullptr;         // of the first 64 tokens
  uint8_t* second_page = nullptr;  // of the others, where TileTokens is 128

  [[nodiscard]] __device__ int pages() const { return TileTokens(part) / kPageTokens; }
  [[nodiscard]] __device__ uint8_t* PageOf(int p) const { return p == 0 ? page : second_page; }
};

/// Tokens [first, end) of a page that a launch writes: all of them, which spares their tests, or a
/// part.
struct WholePage {
  static constexpr bool kWhole = true;
  static constexpr int first = 0;
  static constexpr int end = kPageTokens;
};
struct PartOfPage {
  static constexpr bool kWhole = false;
  int first = 0;
  int end = 0;
};

/// Low and high of two bf16 columns over `count` rows.
__device__ __forceinline__ void RangeOfColumns(const uint8_t* first, int row_bytes, int count,
                                               __nv_bfloat162& low, __nv_bfloat162& high) {
  low = high = *reinterpret_cast<const __nv_bfloat162*>(first);
#pragma unroll 8
  for (int i = 1; i < count; ++i) {
    const auto v = *reinterpret_cast<const __nv_bfloat162*>(first + i * row_bytes);
    low = __hmin2(low, v);
    high = __hmax2(high, v);
  }
}

/// Low and high of `kCount` consecutive bf16, a multiple of 32, beginning with vector `start` of
/// them, so that lanes that have parts of one row read different banks.
template <int kCount>
__device__ __forceinline__ void RangeOfRow(const uint8_t* first, int start, float& low,
                                           float& high) {
  constexpr int kVectors = kCount / 8;
  const auto* const vectors = reinterpret_cast<const uint4*>(first);
  __nv_bfloat162 lowest = *reinterpret_cast<const __nv_bfloat162*>(vectors + start);
  __nv_bfloat162 highest = lowest;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const uint4 v = vectors[(i + start) % kVectors];
    const auto* const pairs = reinterpret_cast<const __nv_bfloat162*>(&v);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      lowest = __hmin2(lowest, pairs[j]);
      highest = __hmax2(highest, pairs[j]);
    }
  }
  low = fminf(__low2float(lowest), __high2float(lowest));
  high = fmaxf(__low2float(highest), __high2float(highest));
}

/// Ranges of the groups of the page's tokens: quantisers to shared memory, scales and zeros to the
/// page. kGroup / kPart lanes next to each other have a group.
template <int kGroup, int kHeadDim, class Tokens>
__device__ __forceinline__ void QuantiseTokenGroups(const PageTile<kHeadDim>& tile, Tokens tokens) {
  constexpr int kPart = kGroup < 64 ? kGroup : 64;  // channels of a lane
  constexpr int kLanes = kGroup / kPart;
  constexpr int kParts = kPageTokens * kHeadDim / kPart;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < kParts; i += kTileThreads) {
    const int group = i / kLanes;  // of the tile
    const int token = group % kPageTokens;
    float low;
    float high;
    RangeOfRow<kPart>(tile.rows + token * tile.kRowBytes + group / kPageTokens * kGroup * 2 +
                          i % kLanes * kPart * 2,
                      i % kLanes * 4, low, high);
    if constexpr (kLanes == 2) {
      low = fminf(low, __shfl_xor_sync(0xffffffffU, low, 1));
      high = fmaxf(high, __shfl_xor_sync(0xffffffffU, high, 1));
    }
    StoredScale stored;
    const Quantiser q = QuantiserOf(tile.part, low, high, stored);
    if (i % kLanes != 0) continue;
    if (!Tokens::kWhole && (token < tokens.first || token >= tokens.end)) continue;
    tile.quantisers[group] = q;
    StoreScale(tile.part, tile.page + tile.layout.scales, tile.page + tile.layout.zeros,
               group - token + MetadataPlace(token), stored);
  }
}

/// The same of all groups of channels, two channels at a time. A group of two pages is in both.
template <int kHeadDim>
__device__ void QuantiseChannelGroups(const PageTile<kHeadDim>& tile) {
  const KvPart& part = tile.part;
  for (int i = static_cast<int>(threadIdx.x); i < TileGroups(part, kHeadDim) / 2;
       i += kTileThreads) {
    const int channel = i % (kHeadDim / 2) * 2;
    const int first = i / (kHeadDim / 2) * part.group;
    __nv_bfloat162 low;
    __nv_bfloat162 high;
    RangeOfColumns(tile.rows + first * tile.kRowBytes + channel * 2, tile.kRowBytes, part.group,
                   low, high);
    StoredScale stored[2];
    tile.quantisers[2 * i] = QuantiserOf(part, __low2float(low), __low2float(high), stored[0]);
    tile.quantisers[2 * i + 1] =
        QuantiserOf(part, __high2float(low), __high2float(high), stored[1]);
    const int place = i - channel / 2 + MetadataPlace(channel) / 2;  // of the pair
    for (int p = 0; p < tile.pages(); ++p) {
      uint8_t* const page = tile.PageOf(p);
      reinterpret_cast<uint32_t*>(page + tile.layout.scales)[place] =
          __byte_perm(stored[0].bits, stored[1].bits, 0x5410);
      reinterpret_cast<uint32_t*>(page + tile.layout.zeros)[place] =
          __byte_perm(stored[0].bits, stored[1].bits, 0x7632);
    }
  }
}

/// Bits of word `reg` of a unit that belong to the given tokens of its page; below 4 bits a
/// tile is always whole.
template <KvSide kSide, int kBits>
__device__ __forceinline__ uint32_t TokenMask(int token_tile, int reg, PartOfPage tokens) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (kSide == KvSide::kKeys) {
    const int token = token_tile * kTile + lane / 4 + 8 * (reg % 2);
    return tokens.first <= token && token < tokens.end ? ~0U : 0U;
  } else {
    constexpr uint32_t kHalf = kBits == 8 ? 0x00ff00ffU : 0x0000ffffU;
    constexpr int kShift = kBits == 8 ? 8 : 16;
    const int token = token_tile * kTile + lane % 4 * 2 + 8 * (reg / 2);
    return (tokens.first <= token && token < tokens.end ? kHalf : 0U) |
           (tokens.first <= token + 1 && token + 1 < tokens.end ? kHalf << kShift : 0U);
  }
}

/// `words` of a unit for the given tokens, `others` for the rest.
template <KvSide kSide, int kBits>
__device__ __forceinline__ uint4 WithOthers(const uint4& words, const uint4& others, int token_tile,
                                            PartOfPage tokens) {
  const auto merged = [&](uint32_t fresh, uint32_t other, int reg) {
    const uint32_t mask = TokenMask<kSide, kBits>(token_tile, reg, tokens);
    return (fresh & mask) | (other & ~mask);
  };
  return make_uint4(merged(words.x, others.x, 0), merged(words.y, others.y, 1),
                    merged(words.z, others.z, 2), merged(words.w, others.w, 3));
}

/// The quantisers of a lane's elements of one fragment: by row where a row is a group (keys on the
/// token axis), else by column; a column's are shared by all rows.
struct FragmentQuantisers {
  Quantiser of[4];  // rows g, g + 8; or columns 2 q, 2 q + 1, 2 q + 8, 2 q + 9
};

template <KvSide kSide, ScaleAxis kAxis, int kHeadDim>
__device__ __forceinline__ FragmentQuantisers QuantisersOf(const PageTile<kHeadDim>& tile,
                                                           int group_shift, int token,
                                                           int channel) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first = kAxis == ScaleAxis::kToken ? (channel >> group_shift) * kPageTokens + token
                                               : (token >> group_shift) * kHeadDim + channel;
  FragmentQuantisers q;
  if constexpr (kSide == KvSide::kKeys && kAxis == ScaleAxis::kToken) {
    q.of[0] = tile.quantisers[first + lane / 4];
    q.of[1] = tile.quantisers[first + lane / 4 + 8];
  } else {
    const auto* const pairs =
        reinterpret_cast<const float4*>(tile.quantisers + first + lane % 4 * 2);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 two = pairs[4 * i];
      q.of[2 * i] = {.factor = two.x, .offset = two.y};
      q.of[2 * i + 1] = {.factor = two.z, .offset = two.w};
    }
  }
  return q;
}

/// The codes of a fragment, one pair per register, plus PairBias each.
template <KvSide kSide, ScaleAxis kAxis, KvElement kElement, int kHeadDim>
__device__ __forceinline__ uint4 FragmentCodes(const PageTile<kHeadDim>& tile, int group_shift,
                                               const uint4& f, int token, int channel) {
  if constexpr (kElement == KvElement::kBf16) {
    return f;
  } else {
    constexpr bool kByRow = kSide == KvSide::kKeys && kAxis == ScaleAxis::kToken;
    const FragmentQuantisers q = QuantisersOf<kSide, kAxis>(tile, group_shift, token, channel);
    const auto codes = [&](uint32_t pair, int reg) {
      return BiasedPair<kElement>(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U),
                                  q.of[kByRow ? reg % 2 : reg / 2 * 2],
                                  q.of[kByRow ? reg % 2 : reg / 2 * 2 + 1]);
    };
    return make_uint4(codes(f.x, 0), codes(f.y, 1), codes(f.z, 2), codes(f.w, 3));
  }
}

/// Where a lane's row of LoadMatrices begins for the fragment at the tile's origin. Matrices are
/// registers: of keys, tokens + 8 (m % 2) and channels + 8 (m / 2); of values, which are
/// transposed, the other way round.
template <KvSide kSide>
__device__ __forceinline__ uint32_t RowOfLane(const uint8_t* rows, int row_bytes) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bool keys = kSide == KvSide::kKeys;
  const int token = lane % 8 + 8 * (keys ? lane / 8 % 2 : lane / 16);
  const int channel = 8 * (keys ? lane / 16 : lane / 8 % 2);
  return ptx::SharedAddress(rows) + static_cast<uint32_t>(token * row_bytes + channel * 2);
}

/// Bit of pair j in its word.
template <KvElement kElement>
__host__ __device__ constexpr int PairShift(int j) {
  constexpr int kBits = BitsOf(kElement);
  return kBits == 16 ? 0 : kBits == 8 ? 16 * j : kBits * j;
}
/// What the biases of all pairs of a word sum to, modulo 2^32.
template <KvElement kElement>
__host__ __device__ constexpr uint32_t WordBias() {
  uint32_t bias = 0;
  if constexpr (kElement != KvElement::kBf16) {
    for (int j = 0; j < 16 / BitsOf(kElement); ++j)
      bias += PairBias<kElement>() << PairShift<kElement>(j);
  }
  return bias;
}

/// Writes the codes of the given tokens of page p of the tile. Those before keep theirs. What
/// stands for those to come must be numbers, as attention multiplies it by zero: the last unit's
/// are zero or what they were, units without a token are left alone.
template <KvSide kSide, ScaleAxis kAxis, KvElement kElement, int kHeadDim, class Tokens>
__device__ void WriteCodes(const PageTile<kHeadDim>& tile, int p, Tokens tokens) {
  constexpr int kBits = BitsOf(kElement);
  constexpr int kChannels = UnitChannelTiles(kBits);
  constexpr int kTokens = UnitTokenTiles(kBits);
  constexpr int kAcross = PageTile<kHeadDim>::kChannelTiles / kChannels;
  constexpr bool kTokensFirst = kSide == KvSide::kKeys && kBits == 1;
  const int group_shift = GroupShift(tile.part);
  const uint32_t start =
      RowOfLane<kSide>(tile.rows + p * kPageTokens * tile.kRowBytes, tile.kRowBytes);
  const int first_unit = tokens.first / (kTokens * kTile) * kAcross;
  const int end_unit = (tokens.end + kTokens * kTile - 1) / (kTokens * kTile) * kAcross;
#pragma unroll(kBits == 16 ? 4 : 1)
  for (int unit = first_unit + static_cast<int>(threadIdx.x) / 32; unit < end_unit;
       unit += kTileThreads / 32) {
    uint4 words{};
#pragma unroll
    for (int j = 0; j < kChannels * kTokens; ++j) {
      const int channel =
          (unit % kAcross * kChannels + (kTokensFirst ? j / kTokens : j % kChannels)) * kTile;
      const int token =
          (unit / kAcross * kTokens + (kTokensFirst ? j % kTokens : j / kChannels)) * kTile;
      const uint4 f = ptx::LoadMatrices<kSide == KvSide::kValues>(
          start + static_cast<uint32_t>(token * tile.kRowBytes + channel * 2));
      const uint4 codes = FragmentCodes<kSide, kAxis, kElement>(tile, group_shift, f,
                                                                p * kPageTokens + token, channel);
      const int shift = PairShift<kElement>(j);
      words.x += codes.x << shift, words.y += codes.y << shift;
      words.z += codes.z << shift, words.w += codes.w << shift;
    }
    constexpr uint32_t kBias = WordBias<kElement>();
    words.x -= kBias, words.y -= kBias, words.z -= kBias, words.w -= kBias;
    auto* const to =
        reinterpret_cast<uint4*>(tile.PageOf(p) + tile.layout.codes + unit * kUnitBytes) +
        threadIdx.x % 32;
    if constexpr (kBits >= 4 && !Tokens::kWhole) {
      const int token = unit / kAcross * kTile;
      if (token < tokens.first || token + kTile > tokens.end)
        words = WithOthers<kSide, kBits>(words, token < tokens.first ? *to : uint4{},
                                         unit / kAcross, tokens);
    }
    *to = words;
  }
}

/// WriteCodes for the element of a part of the given axis; 1-bit keys have the channel axis.
template <KvSide kSide, ScaleAxis kAxis, int kHeadDim, class Tokens>
__device__ void WriteCodesOf(const PageTile<kHeadDim>& tile, int p, Tokens tokens) {
  switch (tile.part.element) {
    case KvElement::kInt8:
      return WriteCodes<kSide, kAxis, KvElement::kInt8>(tile, p, tokens);
    case KvElement::kInt4:
      return WriteCodes<kSide, kAxis, KvElement::kInt4>(tile, p, tokens);
    case KvElement::kInt2:
      return WriteCodes<kSide, kAxis, KvElement::kInt2>(tile, p, tokens);
    case KvElement::kInt1:
      if constexpr (kSide == KvSide::kValues || kAxis == ScaleAxis::kChannel)
        return WriteCodes<kSide, kAxis, KvElement::kInt1>(tile, p, tokens);
      return;
    default:
      break;
  }
  if constexpr (kAxis == ScaleAxis::kToken) {
    if (tile.part.element == KvElement::kE4m3)
      WriteCodes<kSide, kAxis, KvElement::kE4m3>(tile, p, tokens);
    else if (tile.part.element == KvElement::kE5m2)
      WriteCodes<kSide, kAxis, KvElement::kE5m2>(tile, p, tokens);
    else
      WriteCodes<kSide, kAxis, KvElement::kBf16>(tile, p, tokens);
  }
}

/// Quantises the tile into its pages: metadata, then codes unless they are another layer's. Every
/// thread of the block calls it; rows must be complete. Of a part of a lone page the tokens before
/// keep their codes and metadata, and those behind are none yet.
template <KvSide kSide, int kHeadDim, class Tokens>
__device__ void QuantiseTile(const PageTile<kHeadDim>& tile, Tokens tokens) {
  const bool channels = kSide == KvSide::kKeys && tile.part.axis == ScaleAxis::kChannel;
  if (tile.part.element != KvElement::kBf16) {
    if (channels)
      QuantiseChannelGroups(tile);
    else if (tile.part.group == 32)
      QuantiseTokenGroups<32>(tile, tokens);
    else if (tile.part.group == 64)
      QuantiseTokenGroups<64>(tile, tokens);
    else if constexpr (kHeadDim == 128)
      QuantiseTokenGroups<128>(tile, tokens);
    __syncthreads();
  }
  if (tile.part.shares_codes) return;
  if constexpr (kSide == KvSide::kKeys) {
    for (int p = 0; channels && p < tile.pages(); ++p)
      WriteCodesOf<kSide, ScaleAxis::kChannel>(tile, p, tokens);
  }
  if (!channels) WriteCodesOf<kSide, ScaleAxis::kToken>(tile, 0, tokens);
}

}  // namespace moecast::kernels
