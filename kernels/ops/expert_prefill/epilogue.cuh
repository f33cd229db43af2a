// From accumulators to rows in global memory. A warp turns its values through its own piece of
// shared memory so that a row leaves in whole 16-byte vectors; no block-wide barrier.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "kernels/ops/ptx.cuh"
#include "kernels/ops/weight_format.h"

namespace moecast::kernels::prefill {

constexpr int kWarpRows = 16;          // token rows of a warp's accumulators
constexpr int kStagingRowBytes = 128;  // one row of a staging buffer
constexpr int kStagingBytes = kWarpRows * kStagingRowBytes;

// Where a warp's rows go.
struct RowTarget {
  uint8_t* rows = nullptr;  // of the matrix, at the first column of the tile
  int64_t row_bytes = 0;
  int first_row = 0;    // of the warp
  int row_end = 0;      // of the expert
  int valid_bytes = 0;  // of a row of the tile that lie inside the matrix
};

__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// x / (1 + exp(-x)) = x / 2 * (1 + tanh(x / 2)): one approximate function of 2^-11 relative error
// instead of two, so within 2^-12 |x|, a small part of bf16's own rounding.
__device__ __forceinline__ float Silu(float x) {
  const float half = 0.5F * x;
  return half * ptx::Tanh(half) + half;
}

// 16-byte chunk `chunk` of row `row`, exchanged within the row so that eight rows at one chunk lie
// in different banks.
__device__ __forceinline__ uint8_t* StagingChunk(uint8_t* staging, int row, int chunk) {
  return staging + row * kStagingRowBytes + ((chunk ^ (row & 7)) << 4);
}

// Copies 16 staged rows of 128 bytes to byte `column` of the target's rows.
__device__ __forceinline__ void FlushStaging(uint8_t* staging, const RowTarget& target,
                                             int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int chunk = lane % 8;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kWarpRows / 4; ++i) {
    const int row = i * 4 + lane / 8;
    const int global_row = target.first_row + row;
    if (global_row < target.row_end && column + chunk * 16 < target.valid_bytes)
      *reinterpret_cast<uint4*>(target.rows + global_row * target.row_bytes + column + chunk * 16) =
          *reinterpret_cast<const uint4*>(StagingChunk(staging, row, chunk));
  }
  __syncwarp();
}

// kColumns values per row as bf16.
//   d  accumulators of a warpgroup product, [kColumns / 8][4]
template <int kColumns, int kCount>
__device__ __forceinline__ void StoreBf16(const float (&d)[kCount], uint8_t* staging,
                                          const RowTarget& target) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = lane % 16;
#pragma unroll
  for (int first = 0; first < kColumns; first += 64) {
    if (first * 2 >= target.valid_bytes) break;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = (first + i * 16) / 8 * 4;
      const uint32_t m[4] = {PackBf16(d[j], d[j + 1]), PackBf16(d[j + 2], d[j + 3]),
                             PackBf16(d[j + 4], d[j + 5]), PackBf16(d[j + 6], d[j + 7])};
      ptx::StoreMatrix(StagingChunk(staging, row, i * 2 + lane / 16), m);
    }
    FlushStaging(staging, target, first * 2);
  }
}

// 128 values per row as e4m3, each times the row's factor: [0] of rows lane / 4, [1] of those + 8.
template <int kCount>
__device__ __forceinline__ void StoreE4m3(const float (&d)[kCount], const float (&factor)[2],
                                          uint8_t* staging, const RowTarget& target) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int j = 0; j < 16; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 pair = {d[j * 4 + half * 2] * factor[half],
                           d[j * 4 + half * 2 + 1] * factor[half]};
      uint8_t* const chunk = StagingChunk(staging, lane / 4 + half * 8, j / 2);
      *reinterpret_cast<__nv_fp8x2_storage_t*>(chunk + j % 2 * 8 + lane % 4 * 2) =
          __nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3);
    }
  }
  FlushStaging(staging, target, 0);
}

// d[0..63] = silu(d[0..63] * gate_scale) * (d[64..127] * up_scale), zero beyond `valid` columns.
__device__ __forceinline__ void SwiGlu(float (&d)[128], float gate_scale, float up_scale,
                                       int valid) {
  const int first = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int j = 0; j < 16; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float value = Silu(d[j * 4 + i] * gate_scale) * (d[64 + j * 4 + i] * up_scale);
      d[j * 4 + i] = j * 8 + first < valid ? value : 0.0F;
    }
  }
}

// Largest magnitude of each of a lane's two rows over 128 columns.
__device__ __forceinline__ void RowMaxima(const float (&d)[128], float (&largest)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = 0;
#pragma unroll
    for (int j = 0; j < 16; ++j)
      most = fmaxf(most, fmaxf(fabsf(d[j * 4 + half * 2]), fabsf(d[j * 4 + half * 2 + 1])));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 1));
    largest[half] = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 2));
  }
}

}  // namespace moecast::kernels::prefill
