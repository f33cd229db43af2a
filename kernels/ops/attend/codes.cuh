// From a page's stored words to operands of mma.sync.m16n8k16, without a multiplication: a pair of
// codes is cut out of a word by one logic operation and left where it lies in its half, as the
// mantissa of a subnormal f16. It then stands for code * 2^(Shift - 24), exactly; the power is
// undone on queries, on accumulators or at the end. Layout: kernels/ops/kv/page_layout.h.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/ops/kv/page_layout.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {

/// What an integer code's pair is multiplied by beside its shift.
inline constexpr int kSubnormalBits = 24;
/// Slabs of 16 tokens of a page.
inline constexpr int kSlabs = kPageTokens / kTile;

/// log2 of the factor in front of a code of channel tile `tile`, and of slab `slab`.
__host__ __device__ constexpr int TileShift(KvSide side, int bits, int tile) {
  if (bits == 4) return 4 * (tile % 2);
  if (bits == 2) return 2 * (tile % 4);
  if (bits == 1) return side == KvSide::kKeys ? 4 * (tile % 2) : tile % 4;
  return 0;
}
__host__ __device__ constexpr int SlabShift(KvSide side, int bits, int slab) {
  return side == KvSide::kKeys && bits == 1 ? slab : 0;
}

/// The pair of fragment (`slab`, `tile`) in a word of its unit: bf16 as they are, fp8 as f16,
/// integers as above. Constants but for the word.
template <KvElement kElement, KvSide kSide>
__device__ __forceinline__ uint32_t PairOf(uint32_t word, int slab, int tile) {
  if constexpr (kElement == KvElement::kBf16) {
    return word;
  } else if constexpr (kElement == KvElement::kE4m3) {
    uint32_t pair;
    if (tile % 2 == 0)
      asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.rn.f16x2.e4m3x2 %0, lo; }"
          : "=r"(pair)
          : "r"(word));
    else
      asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.rn.f16x2.e4m3x2 %0, hi; }"
          : "=r"(pair)
          : "r"(word));
    return pair;
  } else if constexpr (kElement == KvElement::kE5m2) {
    return __byte_perm(word, 0, tile % 2 == 0 ? 0x1404 : 0x3424);  // the upper byte of an f16
  } else if constexpr (kElement == KvElement::kInt8) {
    return __byte_perm(word, 0, tile % 2 == 0 ? 0x4140 : 0x4342);
  } else if constexpr (kElement == KvElement::kInt4) {
    return (word >> (8 * (tile % 4 / 2))) & (0x000f000fU << (4 * (tile % 2)));
  } else if constexpr (kElement == KvElement::kInt2) {
    return (word >> (8 * (slab % 2))) & (0x00030003U << (2 * (tile % 4)));
  } else if constexpr (kSide == KvSide::kKeys) {
    return (word >> (8 * (tile % 4 / 2))) & (0x00010001U << (slab + 4 * (tile % 2)));
  } else {
    return (word >> (4 * slab)) & (0x00010001U << (tile % 4));
  }
}

template <KvElement kElement, KvSide kSide>
__device__ __forceinline__ uint4 FragmentOf(const uint4& unit, int slab, int tile) {
  return make_uint4(
      PairOf<kElement, kSide>(unit.x, slab, tile), PairOf<kElement, kSide>(unit.y, slab, tile),
      PairOf<kElement, kSide>(unit.z, slab, tile), PairOf<kElement, kSide>(unit.w, slab, tile));
}

/// c[16, 8] += a[16, 16] b[16, 8] in f32, operands bf16 or f16. Not volatile: independent products
/// may be reordered.
template <bool kBf16>
__device__ __forceinline__ void Multiply(float (&c)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  if constexpr (kBf16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  }
}

/// The transpose of an 8 x 8 matrix of 16-bit elements held by a warp.
__device__ __forceinline__ uint32_t Transpose(uint32_t rows) {
  uint32_t columns;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(columns) : "r"(rows));
  return columns;
}

__device__ __forceinline__ uint32_t Halves(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t Bf16s(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t TimesHalves(uint32_t a, uint32_t b) {
  const __half2 product =
      __hmul2(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b));
  return *reinterpret_cast<const uint32_t*>(&product);
}
/// The lower or the upper of a pair of f16.
__device__ __forceinline__ float HalfAt(uint32_t pair, int upper) {
  return __half2float(__ushort_as_half(static_cast<uint16_t>(pair >> (16 * upper))));
}
/// 2^exponent. REQUIRES: a normal number.
__device__ __forceinline__ float PowerOfTwo(int exponent) {
  return __int_as_float((127 + exponent) << 23);
}

}  // namespace moecast::kernels
