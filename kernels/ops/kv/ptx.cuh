// PTX of the cache kernels, one instruction per function, with its section of the PTX ISA 9.0.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels::ptx {

/// Four 8 x 8 matrices of bf16 as a fragment's registers; lane 8 m + r gives row r of matrix m
/// (9.7.14.5.15 ldmatrix).
template <bool kTransposed>
__device__ __forceinline__ uint4 LoadMatrices(uint32_t row) {
  uint4 v;
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(row)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(row)
                 : "memory");
  return v;
}

/// The way back: a fragment's registers to the rows they came from (9.7.14.5.16 stmatrix).
template <bool kTransposed>
__device__ __forceinline__ void StoreMatrices(uint32_t row, const uint4& v) {
  if constexpr (kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row),
                 "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
  else
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row),
                 "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}

/// Starts copying 16 bytes to shared memory, past L1 (9.7.9.25.3 cp.async).
__device__ __forceinline__ void CopyAsync16(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from)
               : "memory");
}
/// Waits for this thread's copies.
__device__ __forceinline__ void CopyAsyncWait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// 1 / x within an ulp. REQUIRES: a normal number (9.7.3.13 rcp).
__device__ __forceinline__ float Reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two values as fp8, the first in the low byte; nearest, half to even, saturating (9.7.9.21 cvt).
template <KvElement kElement>
__device__ __forceinline__ uint32_t Fp8Codes(float first, float second) {
  static_assert(IsFp8(kElement));
  uint16_t codes;
  if constexpr (kElement == KvElement::kE4m3)
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(second), "f"(first));
  else
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(second), "f"(first));
  return codes;
}

}  // namespace moecast::kernels::ptx
