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

/// What a value needs to become a code. Integers: `zero`, and `factor` = 1 / (scale * largest
/// code). fp8: `factor` = 1 / scale.
struct Quantiser {
  float zero = 0;
  float factor = 0;
};

/// What is stored: float16 bits of scale and zero, or one float32 scale.
struct StoredScale {
  uint32_t bits = 0;  // integers: scale low, zero high
};

inline constexpr float kE4m3Largest = 448.0F;
inline constexpr float kE5m2Largest = 57344.0F;

__device__ __forceinline__ Quantiser IntegerQuantiser(float low, float high, int largest, float eta,
                                                      StoredScale& stored) {
  const float levels = static_cast<float>(largest);
  const __half scale = __float2half_rn(__fdiv_rn(high - low, levels));
  const __half zero = __float2half_rn(low);
  const float s = __half2float(scale);
  const float z = __half2float(zero);
  const __half kept_scale = __float2half_rn(s * (1.0F - 2.0F * eta));
  const __half kept_zero = __float2half_rn(fmaf(eta * s, levels, z));
  stored.bits = static_cast<uint32_t>(__half_as_ushort(kept_scale)) |
                static_cast<uint32_t>(__half_as_ushort(kept_zero)) << 16;
  return {.zero = z, .factor = s > 0 ? __fdiv_rn(1.0F, s * levels) : 0.0F};
}

__device__ __forceinline__ Quantiser FloatQuantiser(float low, float high, float largest,
                                                    StoredScale& stored) {
  const float scale = __fdiv_rn(fmaxf(high, -low), largest);
  stored.bits = __float_as_uint(scale);
  return {.factor = scale > 0 ? __fdiv_rn(1.0F, scale) : 0.0F};
}

/// The quantiser of a group whose values lie in [low, high].
__device__ __forceinline__ Quantiser QuantiserOf(const KvPart& part, float low, float high,
                                                 StoredScale& stored) {
  if (part.element == KvElement::kE4m3) return FloatQuantiser(low, high, kE4m3Largest, stored);
  if (part.element == KvElement::kE5m2) return FloatQuantiser(low, high, kE5m2Largest, stored);
  return IntegerQuantiser(low, high, (1 << BitsOf(part.element)) - 1, part.eta, stored);
}

/// The integer code of x. The sum puts it, rounded half to even, in the lowest bits of a float.
template <int kBits>
__device__ __forceinline__ uint32_t IntegerCode(float x, const Quantiser& q) {
  constexpr float kLevels = static_cast<float>((1 << kBits) - 1);
  constexpr float kUnitsAre1 = 8388608.0F;  // 2^23
  return __float_as_uint(fmaf(__saturatef((x - q.zero) * q.factor), kLevels, kUnitsAre1)) &
         ((1U << kBits) - 1U);
}

/// Codes of two values of one group or of two, the first in the low bits: 16 - kBits zero bits
/// between them, except that bytes lie together.
template <KvElement kElement>
__device__ __forceinline__ uint32_t CodePair(float first, float second, const Quantiser& of_first,
                                             const Quantiser& of_second) {
  constexpr int kBits = BitsOf(kElement);
  static_assert(kElement != KvElement::kBf16);
  if constexpr (IsFp8(kElement)) {
    return ptx::Fp8Codes<kElement>(first * of_first.factor, second * of_second.factor);
  } else {
    constexpr int kDistance = kBits == 8 ? 8 : 16;
    return IntegerCode<kBits>(first, of_first) | IntegerCode<kBits>(second, of_second) << kDistance;
  }
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
