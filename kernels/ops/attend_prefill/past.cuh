// From pages of the cache to tiles of keys and values in shared memory, in bf16, in the form in
// which wgmma reads them: four warps read codes in the fragment order of page_layout.h, turn them
// into numbers, and store fragments.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/ops/attend_prefill/past_tiles.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::attend {

// One head of the cache.
struct PastSource {
  const AttendPast& past;
  const PageLayout& layout;
  const PageLayout& window_layout;
  int kv_heads = 0;
  int head = 0;
};

// Codes and metadata of keys or values in one page.
struct PagePart {
  KvElement element = KvElement::kBf16;
  ScaleAxis axis = ScaleAxis::kToken;
  int group_shift = 0;  // log2 of the group
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;
  const uint8_t* zeros = nullptr;
};

template <KvSide kSide>
__device__ inline PagePart FindPage(const PastSource& source, int sequence, int tokens, int page) {
  constexpr bool kKeys = kSide == KvSide::kKeys;
  const KvCache& cache = source.past.cache;
  const KvWindow& window = source.past.scheme.window;
  const int token = page * kPageTokens;
  const bool in_window =
      HasWindow(source.past.scheme) &&
      (token < window.sink || token >= window.sink + QuantisedTokens(window, tokens));
  if (in_window) {
    const int entry = sequence * WindowPages(window) + WindowPageOf(window, token);
    const PartLayout& place = kKeys ? source.window_layout.keys : source.window_layout.values;
    return {.codes = cache.window +
                     PageStart(source.window_layout, source.kv_heads, cache.window_table[entry],
                               source.head) +
                     place.codes};
  }
  const KvPart& part = kKeys ? source.past.scheme.keys : source.past.scheme.values;
  const PartLayout& place = kKeys ? source.layout.keys : source.layout.values;
  const int64_t entry =
      cache.block_table[static_cast<int64_t>(sequence) * cache.pages_per_sequence + page];
  const uint8_t* const own =
      cache.pages + PageStart(source.layout, source.kv_heads, entry, source.head);
  PagePart found{.element = part.element,
                 .axis = part.axis,
                 .group_shift = 31 - __clz(max(part.group, 1)),
                 .codes = own + place.codes,
                 .scales = own + place.scales,
                 .zeros = own + place.zeros};
  if (part.shares_codes) {
    const PartLayout& theirs = kKeys ? cache.code_layout.keys : cache.code_layout.values;
    found.codes = cache.code_pages +
                  PageStart(cache.code_layout, source.kv_heads, entry, source.head) + theirs.codes;
  }
  return found;
}

// Scales and zeros of one lane's elements of a fragment: of its two rows where they belong to rows,
// else of the pairs of columns of registers 0 and 2.
struct FragmentScales {
  float2 scale[2];
  float2 zero[2];
};

__device__ __forceinline__ float2 Both(float x) { return {x, x}; }

// Number of the scale of (token, channel) in its page; the group's size is a power of two.
template <int kDim>
__device__ __forceinline__ int ScalePlace(ScaleAxis axis, int shift, int token, int channel) {
  constexpr KvPart kOneToken{.axis = ScaleAxis::kToken, .group = kDim};
  constexpr KvPart kOneChannel{.axis = ScaleAxis::kChannel, .group = kPageTokens};
  if (axis == ScaleAxis::kToken)
    return (channel >> shift) * kPageTokens + GroupOf(kOneToken, kDim, token, 0);
  return (token >> shift) * kDim + GroupOf(kOneChannel, kDim, 0, channel);
}

// Element kRow of a key fragment with a scale per token lies in that row; all others have a scale
// per column: tokens of values, channels of keys.
template <KvSide kSide, KvElement kElement, int kDim>
__device__ __forceinline__ FragmentScales ScalesOf(const PagePart& page, int token, int channel) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  FragmentScales found{};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool by_row = kSide == KvSide::kKeys && page.axis == ScaleAxis::kToken;
    const int row = lane / 4 + 8 * i;
    const int column = lane % 4 * 2 + 8 * i;
    const int t = token + (by_row ? row : kSide == KvSide::kKeys ? 0 : column);
    const int c = channel + (!by_row && kSide == KvSide::kKeys ? column : 0);
    const int place = ScalePlace<kDim>(page.axis, page.group_shift, t, c);
    if constexpr (IsFp8(kElement)) {
      const auto* const scales = reinterpret_cast<const float*>(page.scales) + place;
      found.scale[i] =
          by_row ? Both(__ldg(scales)) : __ldg(reinterpret_cast<const float2*>(scales));
    } else if (by_row) {
      found.scale[i] = Both(__half2float(reinterpret_cast<const __half*>(page.scales)[place]));
      found.zero[i] = Both(__half2float(reinterpret_cast<const __half*>(page.zeros)[place]));
    } else {
      found.scale[i] = __half22float2(
          *reinterpret_cast<const __half2*>(reinterpret_cast<const __half*>(page.scales) + place));
      found.zero[i] = __half22float2(
          *reinterpret_cast<const __half2*>(reinterpret_cast<const __half*>(page.zeros) + place));
    }
  }
  return found;
}

// The pair of codes of fragment `j` in a word of its unit, as numbers.
template <KvElement kElement>
__device__ __forceinline__ float2 Decode(uint32_t word, int j) {
  constexpr int kBits = BitsOf(kElement);
  if constexpr (IsFp8(kElement)) {
    const auto pair = static_cast<__nv_fp8x2_storage_t>(word >> (16 * j));
    const __half2 value =
        __nv_cvt_fp8x2_to_halfraw2(pair, kElement == KvElement::kE4m3 ? __NV_E4M3 : __NV_E5M2);
    return __half22float2(value);
  } else {
    // A code in the low bits of float 2^23 is 2^23 + code, exactly.
    constexpr uint32_t kMask = (1U << kBits) - 1;
    constexpr uint32_t kBias = 0x4b000000;
    const int low = kBits == 8 ? 16 * j : kBits * j;
    const int high = low + (kBits == 8 ? 8 : 16);
    return {__uint_as_float((word >> low & kMask) | kBias) - 0x1p23F,
            __uint_as_float((word >> high & kMask) | kBias) - 0x1p23F};
  }
}

// Fragment `j` of a unit as bf16; `by_row`: scales belong to rows.
template <KvElement kElement>
__device__ __forceinline__ void Dequantise(const uint4& unit, int j, const FragmentScales& scales,
                                           bool by_row, uint32_t (&fragment)[4]) {
  const uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kElement == KvElement::kBf16) {
      fragment[i] = words[i];
    } else {
      const float2 code = Decode<kElement>(words[i], j);
      const float2 scale = by_row ? scales.scale[i % 2] : scales.scale[i / 2];
      const float2 zero = by_row ? scales.zero[i % 2] : scales.zero[i / 2];
      const __nv_bfloat162 pair =
          __floats2bfloat162_rn(fmaf(code.x, scale.x, zero.x), fmaf(code.y, scale.y, zero.y));
      fragment[i] = *reinterpret_cast<const uint32_t*>(&pair);
    }
  }
}

// Zeros for the tokens of a value fragment that the sequence does not have: a weight of zero does
// not hide a not-a-number.
__device__ __forceinline__ void DropTokens(int valid, uint32_t (&fragment)[4]) {
  const int first = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int column = first + 8 * (i / 2);
    if (column >= valid) fragment[i] = 0;
    if (column + 1 >= valid) fragment[i] &= 0xffffU;
  }
}

// A fragment to its place in blocks of 64 columns, rows of tokens.
template <KvSide kSide>
__device__ __forceinline__ void StoreFragment(uint8_t* tile, int token, int channel,
                                              const uint32_t (&fragment)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int matrix = lane / 8;  // whose row address this lane gives
  constexpr bool kKeys = kSide == KvSide::kKeys;
  const int row = token + lane % 8 + 8 * (kKeys ? matrix % 2 : matrix / 2);
  const int chunk = channel / 8 + (kKeys ? matrix / 2 : matrix % 2);
  uint8_t* const place =
      tile + chunk / 8 * (kPageTokens * 128) + row * 128 + (((chunk % 8) ^ (row % 8)) << 4);
  if constexpr (kKeys) {
    ptx::StoreMatrix(place, fragment);
  } else {
    ptx::StoreMatrixTransposed(place, fragment);
  }
}

// All fragments of the unit whose words this lane has read.
template <KvSide kSide, KvElement kElement, int kDim>
__device__ __forceinline__ void StageUnit(const PagePart& page, int unit, const uint4& words,
                                          int valid, uint8_t* tile) {
  constexpr int kBits = BitsOf(kElement);
  constexpr int kChannelTiles = UnitChannelTiles(kBits);
  constexpr int kTokenTiles = UnitTokenTiles(kBits);
  constexpr int kRowUnits = kDim / kTile / kChannelTiles;
  constexpr bool kTokensFirst = kSide == KvSide::kKeys && kBits == 1;
  const bool by_row = kSide == KvSide::kKeys && page.axis == ScaleAxis::kToken;
#pragma unroll
  for (int j = 0; j < kChannelTiles * kTokenTiles; ++j) {
    const int token_tile = kTokensFirst ? j % kTokenTiles : j / kChannelTiles;
    const int channel_tile = kTokensFirst ? j / kTokenTiles : j % kChannelTiles;
    const int token = (unit / kRowUnits * kTokenTiles + token_tile) * kTile;
    const int channel = (unit % kRowUnits * kChannelTiles + channel_tile) * kTile;
    FragmentScales scales{};
    if constexpr (kElement != KvElement::kBf16)
      scales = ScalesOf<kSide, kElement, kDim>(page, token, channel);
    uint32_t fragment[4];
    Dequantise<kElement>(words, j, scales, by_row, fragment);
    if (kSide == KvSide::kValues && token + kTile > valid) DropTokens(valid - token, fragment);
    StoreFragment<kSide>(tile, token, channel, fragment);
  }
}

template <KvSide kSide, KvElement kElement, int kDim>
__device__ void StageCodes(const PagePart& page, int valid, uint8_t* tile) {
  constexpr int kUnits = CodeBytes(kElement, kDim) / kUnitBytes;
  constexpr int kBatch = kUnits < 16 ? (kUnits + 3) / 4 : 4;  // in flight per warp
  const auto* const units =
      reinterpret_cast<const uint4*>(page.codes) + static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
  for (int unit = static_cast<int>(threadIdx.x) / 32; unit < kUnits; unit += 4 * kBatch) {
    uint4 words[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (unit + 4 * i < kUnits) words[i] = __ldg(units + (unit + 4 * i) * 32);
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (unit + 4 * i < kUnits)
        StageUnit<kSide, kElement, kDim>(page, unit + 4 * i, words[i], valid, tile);
  }
}

template <KvSide kSide, int kDim>
__device__ inline void StageZeros(uint8_t* tile) {
  const uint32_t zeros[4] = {};
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int channel = 0; channel < kDim; channel += kTile)
    StoreFragment<kSide>(tile, warp * kTile, channel, zeros);
}

// 64 tokens of keys or values of one head to blocks of 64 columns; tokens that the sequence does
// not have are zero in values and undefined in keys. REQUIRES: four whole warps, no others.
//   tokens  of the sequence in the cache
//   page    of the sequence, possibly behind its last
template <KvSide kSide, int kDim>
__device__ inline void StagePage(const PastSource& source, int sequence, int tokens, int page,
                                 uint8_t* tile) {
  const int valid = min(tokens - page * kPageTokens, kPageTokens);
  if (valid <= 0) {
    StageZeros<kSide, kDim>(tile);
    return;
  }
  const PagePart found = FindPage<kSide>(source, sequence, tokens, page);
  switch (found.element) {
    case KvElement::kBf16:
      return StageCodes<kSide, KvElement::kBf16, kDim>(found, valid, tile);
    case KvElement::kE4m3:
      return StageCodes<kSide, KvElement::kE4m3, kDim>(found, valid, tile);
    case KvElement::kE5m2:
      return StageCodes<kSide, KvElement::kE5m2, kDim>(found, valid, tile);
    case KvElement::kInt8:
      return StageCodes<kSide, KvElement::kInt8, kDim>(found, valid, tile);
    case KvElement::kInt4:
      return StageCodes<kSide, KvElement::kInt4, kDim>(found, valid, tile);
    case KvElement::kInt2:
      return StageCodes<kSide, KvElement::kInt2, kDim>(found, valid, tile);
    case KvElement::kInt1:
      return StageCodes<kSide, KvElement::kInt1, kDim>(found, valid, tile);
  }
}

}  // namespace moecast::kernels::attend
