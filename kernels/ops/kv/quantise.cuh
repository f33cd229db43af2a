// From a group's range to its scale and zero, and from a value to its code: the arithmetic that all
// quantising kernels share. Code = round((x - zero) / scale), half to even, clamped; scale and zero
// are float16 numbers before any code is chosen, so a check can recompute codes from them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"
#include "kernels/ops/kv/ptx.cuh"

namespace moecast::kernels {

/// What a value needs to become a code: x * factor + offset is the code over the largest code for
/// integers (factor = 1 / (largest * scale), offset = -zero * factor), and what is rounded for fp8
/// (factor = 1 / scale, offset = 0).
struct Quantiser {
  float factor = 0;
  float offset = 0;
};

/// What is stored: float16 bits of scale and zero, or one float32 scale.
struct StoredScale {
  uint32_t bits = 0;  // integers: scale low, zero high
};

inline constexpr float kE4m3Largest = 448.0F;
inline constexpr float kE5m2Largest = 57344.0F;
inline constexpr float kLeastNormal = 1.17549435e-38F;

// Reciprocals are within two units in the last place of float32: far below the rounding of a scale
// to float16, and of a code to its nearest whole number.
__device__ __forceinline__ Quantiser IntegerQuantiser(float low, float high, int largest, float eta,
                                                      StoredScale& stored) {
  const float levels = static_cast<float>(largest);
  const __half scale = __float2half_rn((high - low) * ptx::Reciprocal(levels));
  const __half zero = __float2half_rn(low);
  const float s = __half2float(scale);
  const float z = __half2float(zero);
  const __half kept_scale = __float2half_rn(s * (1.0F - 2.0F * eta));
  const __half kept_zero = __float2half_rn(fmaf(eta * s, levels, z));
  stored.bits = static_cast<uint32_t>(__half_as_ushort(kept_scale)) |
                static_cast<uint32_t>(__half_as_ushort(kept_zero)) << 16;
  const float factor = s > 0 ? ptx::Reciprocal(s * levels) : 0.0F;
  return {.factor = factor, .offset = -z * factor};
}

__device__ __forceinline__ Quantiser FloatQuantiser(float low, float high, float largest,
                                                    StoredScale& stored) {
  const float scale = fmaxf(high, -low) * (1.0F / largest);
  stored.bits = __float_as_uint(scale);
  return {.factor = scale >= kLeastNormal ? ptx::Reciprocal(scale) : 0.0F};
}

/// Groups are powers of two. REQUIRES: not bf16.
__device__ __forceinline__ int GroupShift(const KvPart& part) { return __ffs(part.group) - 1; }

/// The quantiser of a group whose values lie in [low, high].
__device__ __forceinline__ Quantiser QuantiserOf(const KvPart& part, float low, float high,
                                                 StoredScale& stored) {
  if (part.element == KvElement::kE4m3) return FloatQuantiser(low, high, kE4m3Largest, stored);
  if (part.element == KvElement::kE5m2) return FloatQuantiser(low, high, kE5m2Largest, stored);
  return IntegerQuantiser(low, high, (1 << BitsOf(part.element)) - 1, part.eta, stored);
}

/// The integer code of x, rounded half to even, in the lowest bits of a float: above it stands
/// kCodeBias, which whoever packs codes takes away from their sum.
template <int kBits>
__device__ __forceinline__ uint32_t BiasedCode(float x, const Quantiser& q) {
  constexpr float kLevels = static_cast<float>((1 << kBits) - 1);
  constexpr float kUnitsAre1 = 8388608.0F;  // 2^23
  return __float_as_uint(fmaf(__saturatef(fmaf(x, q.factor, q.offset)), kLevels, kUnitsAre1));
}
inline constexpr uint32_t kCodeBias = 0x4b000000U;

/// Codes of two values of one group or of two, the first in the low bits, the second 16 bits above
/// or, of bytes, 8; plus PairBias.
template <KvElement kElement>
__device__ __forceinline__ uint32_t BiasedPair(float first, float second, const Quantiser& of_first,
                                               const Quantiser& of_second) {
  static_assert(kElement != KvElement::kBf16);
  if constexpr (IsFp8(kElement)) {
    return ptx::Fp8Codes<kElement>(first * of_first.factor, second * of_second.factor);
  } else {
    constexpr int kBits = BitsOf(kElement);
    return BiasedCode<kBits>(first, of_first) +
           (BiasedCode<kBits>(second, of_second) << (kBits == 8 ? 8 : 16));
  }
}
template <KvElement kElement>
__host__ __device__ constexpr uint32_t PairBias() {
  if (!IsInteger(kElement)) return 0;
  return kCodeBias + (kCodeBias << (kElement == KvElement::kInt8 ? 8 : 16));
}

/// The code of one value.
template <KvElement kElement>
__device__ __forceinline__ uint32_t Code(float x, const Quantiser& q) {
  if constexpr (IsFp8(kElement))
    return ptx::Fp8Codes<kElement>(x * q.factor, 0);
  else
    return BiasedCode<BitsOf(kElement)>(x, q) - kCodeBias;
}

/// Writes a group's scale and zero; `scales` and `zeros` are where a page's begin.
__device__ __forceinline__ void StoreScale(const KvPart& part, uint8_t* scales, uint8_t* zeros,
                                           int group, const StoredScale& stored) {
  if (IsInteger(part.element)) {
    reinterpret_cast<uint16_t*>(scales)[group] = static_cast<uint16_t>(stored.bits & 0xffffU);
    reinterpret_cast<uint16_t*>(zeros)[group] = static_cast<uint16_t>(stored.bits >> 16);
  } else {
    reinterpret_cast<uint32_t*>(scales)[group] = stored.bits;
  }
}

}  // namespace moecast::kernels
