// From a format's stored bytes to mma operands, in registers. Fragment order is in
// fragment_order.h; a "step" is 32 columns, two mma.m16n8k16.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/ops/expert_gemm/fragment_order.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {

/// c += a b, 16 x 16 by 16 x 8, for the operand type a format multiplies in: bf16, or f16 which
/// holds every e4m3 exactly (Hopper has no fp8 form of mma.sync; the compiler would convert both
/// operands). Not volatile: independent products may be reordered.
template <WeightFormat kFormat>
__device__ __forceinline__ void Mma(float (&c)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  if constexpr (IsFp8(kFormat)) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  }
}

/// Four e4m3 as two pairs of f16, exact.
__device__ __forceinline__ uint2 HalvesOfE4m3(uint32_t codes) {
  uint2 halves;
  asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %2; cvt.rn.f16x2.e4m3x2 %0, lo; "
      "cvt.rn.f16x2.e4m3x2 %1, hi; }"
      : "=r"(halves.x), "=r"(halves.y)
      : "r"(codes));
  return halves;
}

/// Nibbles `pair` and `pair` + 4 of a word as bf16 of 128 + code, exact: under the exponent of 128
/// a nibble is the integer part, so it takes one three-input logic operation.
__device__ __forceinline__ uint32_t BiasedNibbles(uint32_t word, int pair) {
  uint32_t biased;
  asm("lop3.b32 %0, %1, 0x000f000f, 0x43004300, 0xea;" : "=r"(biased) : "r"(word >> (4 * pair)));
  return biased;
}
/// Two bf16 of what BiasedNibbles adds to every value, negative: -(128 + kInt4Zero).
constexpr uint32_t kNibbleBias = 0xc308c308;

/// Where step `step` of a row tile's chunk starts. A step past the `steps` that exist is read from
/// the first, whose bytes are there; its activations are zero.
template <WeightFormat kFormat>
__device__ __forceinline__ uint32_t StepOffset(int step, int steps) {
  constexpr int kStepsOfBlock = BlockColumns(kFormat) / 32;
  const int offset = step / kStepsOfBlock * BlockBytes(kFormat) + step % kStepsOfBlock / 2 * 512;
  return static_cast<uint32_t>(step < steps ? offset : 0);
}

/// The A operands of steps `first` and the next of a row tile's chunk at shared address `chunk`.
template <WeightFormat kFormat>
__device__ __forceinline__ void LoadWeights(uint32_t chunk, int first, int steps,
                                            uint4 (&a)[2][2]) {
  const uint32_t lane = chunk + threadIdx.x % 32 * 16;
  if constexpr (IsInt4(kFormat)) {  // both in one word quadruple
    const uint4 w = ptx::LoadShared(lane + StepOffset<kFormat>(first, steps));
    const uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      a[i / 2][i % 2] = make_uint4(BiasedNibbles(words[i], 0), BiasedNibbles(words[i], 1),
                                   BiasedNibbles(words[i], 2), BiasedNibbles(words[i], 3));
  } else {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const uint32_t block = lane + StepOffset<kFormat>(first + s, steps);
      if constexpr (kFormat == WeightFormat::kBf16) {
        a[s][0] = ptx::LoadShared(block);
        a[s][1] = ptx::LoadShared(block + BlockBytes(kFormat) / 2);
      } else {
        const uint4 w = ptx::LoadShared(block);
        const uint2 p[4] = {HalvesOfE4m3(w.x), HalvesOfE4m3(w.y), HalvesOfE4m3(w.z),
                            HalvesOfE4m3(w.w)};
        a[s][0] = make_uint4(p[0].x, p[0].y, p[1].x, p[1].y);
        a[s][1] = make_uint4(p[2].x, p[2].y, p[3].x, p[3].y);
      }
    }
  }
}

/// Scales of rows g and g + 8 of the 4-bit group that starts at step `step`.
template <WeightFormat kFormat>
__device__ __forceinline__ float2 LoadRowScales(uint32_t chunk, int step, int steps) {
  static_assert(IsInt4(kFormat));
  constexpr int kColumns = BlockColumns(kFormat);
  constexpr int kGroups = kColumns / GroupColumns(kFormat);
  const int group = step * 32 % kColumns / GroupColumns(kFormat);
  const int block = step < steps ? step * 32 / kColumns * BlockBytes(kFormat) : 0;
  const uint32_t g = threadIdx.x % 32 / 4;
  const uint32_t address = chunk + static_cast<uint32_t>(block + kFragmentRows * kColumns / 2) +
                           (g * kGroups + static_cast<uint32_t>(group)) * 4;
  uint32_t pair;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(pair) : "r"(address));
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U));
}

/// Two bf16 times `factor`, rounded to e4m3, as two f16.
__device__ __forceinline__ uint32_t ThroughE4m3(uint32_t pair, float factor) {
  const float lo = __uint_as_float(pair << 16) * factor;
  const float hi = __uint_as_float(pair & 0xffff0000U) * factor;
  uint32_t halves;
  asm("{ .reg .b16 code; cvt.rn.satfinite.e4m3x2.f32 code, %1, %2; cvt.rn.f16x2.e4m3x2 %0, code; }"
      : "=r"(halves)
      : "f"(hi), "f"(lo));
  return halves;
}

/// Quantises a lane's activations in place: bf16 to f16 that hold e4m3 of value * factor.
template <int kSteps>
__device__ __forceinline__ void QuantiseRow(uint4 (&values)[kSteps], float factor) {
#pragma unroll
  for (uint4& v : values)
    v = make_uint4(ThroughE4m3(v.x, factor), ThroughE4m3(v.y, factor), ThroughE4m3(v.z, factor),
                   ThroughE4m3(v.w, factor));
}

/// Largest magnitude over the columns that the four lanes of one token hold.
template <int kSteps>
__device__ __forceinline__ float LargestOfToken(const uint4 (&values)[kSteps]) {
  __nv_bfloat162 largest = __float2bfloat162_rn(0);
#pragma unroll
  for (const uint4& v : values) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (const uint32_t word : words)
      largest = __hmax2(largest, __habs2(*reinterpret_cast<const __nv_bfloat162*>(&word)));
  }
  float result = fmaxf(__low2float(largest), __high2float(largest));
  result = fmaxf(result, __shfl_xor_sync(0xffffffffU, result, 1));
  return fmaxf(result, __shfl_xor_sync(0xffffffffU, result, 2));
}

}  // namespace moecast::kernels
