// From the bf16 of a row's pieces (row_pieces.h) to what is stored of them.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/kv/quantise.cuh"
#include "kernels/ops/kv/row_pieces.h"

namespace moecast::kernels {

/// The bf16 of a piece whose first channel is at `from`.
template <class Pieces>
__device__ __forceinline__ void LoadPiece(const __nv_bfloat16* from,
                                          uint32_t (&bits)[Pieces::kCodes]) {
  if constexpr (Pieces::kKeys) {
#pragma unroll
    for (int i = 0; i < Pieces::kCodes; i += 2) {
      const uint32_t pair = *reinterpret_cast<const uint32_t*>(from + Pieces::Offset(i));
      bits[i] = pair & 0xffffU;
      bits[i + 1] = pair >> 16;
    }
  } else {
#pragma unroll
    for (int i = 0; i < Pieces::kCodes; ++i)
      bits[i] = __bfloat16_as_ushort(from[Pieces::Offset(i)]);
  }
}

/// Stores a piece at `to`. `old` are the two words as they were, where the token is odd and the
/// piece paired; the place of a token that is still to come is cleared.
template <class Pieces>
__device__ __forceinline__ void StorePiece(uint8_t* to, bool odd, const uint2& old,
                                           const uint32_t (&code)[Pieces::kCodes]) {
  if constexpr (Pieces::kSingle) {
    *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(code[0]);
  } else if constexpr (Pieces::kKeys) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < Pieces::kCodes; ++i) word |= code[i] << Pieces::Shift(i);
    *reinterpret_cast<uint32_t*>(to) = word;
  } else {
    uint2 words{};
#pragma unroll
    for (int i = 0; i < Pieces::kCodes; i += 2) {
      words.x |= code[i] << Pieces::Shift(i);
      words.y |= code[i + 1] << Pieces::Shift(i + 1);
    }
    if (odd) {
      words.x = words.x << Pieces::kOddShift | (old.x & Pieces::kEvenBits);
      words.y = words.y << Pieces::kOddShift | (old.y & Pieces::kEvenBits);
    }
    *reinterpret_cast<uint2*>(to) = words;
  }
}

/// The largest of a group's values and the largest of their negations, which `lanes` lanes next to
/// each other, at least eight, have parts of: bf16 holds both exactly.
__device__ __forceinline__ __nv_bfloat162 RangeOverLanes(int lanes, __nv_bfloat162 range) {
  const auto exchange = [&](int distance) {
    range = __hmax2(range, __shfl_xor_sync(0xffffffffU, range, distance));
  };
  if (lanes > 16) exchange(16);
  if (lanes > 8) exchange(8);
  exchange(4), exchange(2), exchange(1);
  return range;
}

/// Where a lane's scale and zero go, if it has the first code of a group.
struct ScalePlace {
  uint8_t* scales;  // of the lane's first group in the page
  uint8_t* zeros;
  bool first;   // whether the lane has the group's first code,
  bool second;  // and that of the group 32 channels on
};

/// A value beside its negation.
__device__ __forceinline__ __nv_bfloat162 RangeOf(uint32_t bits) {
  const uint32_t both = (bits | bits << 16) ^ 0x80000000U;
  return *reinterpret_cast<const __nv_bfloat162*>(&both);
}

/// Turns the bf16 of a piece into codes and writes the scales of its groups. Every lane of the warp
/// calls it.
template <class Pieces, KvElement kElement>
__device__ __forceinline__ void QuantisePiece(const KvPart& part, const ScalePlace& place,
                                              uint32_t (&bits)[Pieces::kCodes]) {
  constexpr int kPart = Pieces::kCodes < 4 ? Pieces::kCodes : 4;  // codes of 32 channels
  constexpr int kParts = Pieces::kCodes / kPart;
  __nv_bfloat162 range[kParts];
#pragma unroll
  for (int i = 0; i < Pieces::kCodes; ++i) {
    const __nv_bfloat162 own = RangeOf(bits[i]);
    range[i / kPart] = i % kPart == 0 ? own : __hmax2(range[i / kPart], own);
  }
  const int lanes = part.group / (Pieces::kTiles * kTile) * Pieces::kOfUnit;
  const bool one_group = part.group > 32;
  if (kParts == 2 && one_group) range[0] = __hmax2(range[0], range[kParts - 1]);
  Quantiser q;
#pragma unroll
  for (int p = 0; p < kParts; ++p) {
    if (p == 0 || !one_group) {
      range[p] = RangeOverLanes(lanes, range[p]);
      StoredScale stored;
      q = QuantiserOf(part, -__high2float(range[p]), __low2float(range[p]), stored);
      if (p == 0 ? place.first : place.second)
        StoreScale(part, place.scales, place.zeros, p * kPageTokens, stored);
    }
#pragma unroll
    for (int i = p * kPart; i < (p + 1) * kPart; ++i)
      bits[i] = Code<kElement>(__uint_as_float(bits[i] << 16), q);
  }
}

}  // namespace moecast::kernels
