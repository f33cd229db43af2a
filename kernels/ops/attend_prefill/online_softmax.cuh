// The softmax of a warpgroup's rows while their products arrive tile by tile, on the accumulators
// of wgmma: of every 8 columns a lane has two of row lane / 4 and two of row lane / 4 + 8 of its
// warp's 16. Exponentials are base 2. [Dao24, 3.1]
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::attend {

// Largest of a row's products so far, and this lane's part of the sum of its exponentials.
struct RowState {
  float largest[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
};

__device__ __forceinline__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 2));
}
__device__ __forceinline__ float QuadSum(float x) {
  x += __shfl_xor_sync(0xffffffffU, x, 1);
  return x + __shfl_xor_sync(0xffffffffU, x, 2);
}

// Columns of the tile outside low .. high get minus infinity, each of a lane's two rows its own.
template <int kCount>
__device__ __forceinline__ void Mask(float (&s)[kCount], const int (&low)[2],
                                     const int (&high)[2]) {
  const int first = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int column = i / 4 * 8 + first + i % 2;
    if (column < low[i / 2 % 2] || column > high[i / 2 % 2]) s[i] = -INFINITY;
  }
}

template <int kCount>
__device__ __forceinline__ void RowMaxima(const float (&s)[kCount], float (&largest)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = fmaxf(s[half * 2], s[half * 2 + 1]);
#pragma unroll
    for (int i = 4; i < kCount; i += 4)
      most = fmaxf(most, fmaxf(s[i + half * 2], s[i + half * 2 + 1]));
    largest[half] = QuadMax(most);
  }
}

// s = 2^(scale (s - the new largest)), and the state with them.
//   seen    largest of each row of this tile, finite for some tile before the first use
//   factor  what earlier exponentials are to be multiplied with
template <int kCount>
__device__ __forceinline__ void Exponentiate(float (&s)[kCount], const float (&seen)[2],
                                             float scale, RowState& state, float (&factor)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float largest = fmaxf(state.largest[half], seen[half]);
    factor[half] = ptx::Exp2((state.largest[half] - largest) * scale);
    state.largest[half] = largest;
    const float bias = -largest * scale;
    float sum = 0;
#pragma unroll
    for (int i = half * 2; i < kCount; i += 4) {
      s[i] = ptx::Exp2(fmaf(s[i], scale, bias));
      s[i + 1] = ptx::Exp2(fmaf(s[i + 1], scale, bias));
      sum += s[i] + s[i + 1];
    }
    state.sum[half] = state.sum[half] * factor[half] + sum;
  }
}

template <int kCount>
__device__ __forceinline__ void ScaleRows(float (&o)[kCount], const float (&factor)[2]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) o[i] *= factor[i / 2 % 2];
}

// 16 columns of accumulators as the A operand of a product with 16 rows.
__device__ __forceinline__ void PackStep(const float* s, uint32_t (&a)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(s[2 * i], s[2 * i + 1]);
    a[i] = *reinterpret_cast<const uint32_t*>(&pair);
  }
}

}  // namespace moecast::kernels::attend
