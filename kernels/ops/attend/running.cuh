// What a warp carries through the units of one sequence and KV head: up to 8 kTiles query heads,
// their softmax so far and their weighted sum of values.
//
// Lane l = 4 g + q. Scores are [token][head] and sums [channel][head] accumulators of
// mma.sync.m16n8k16: element k of a tile is row g + 8 (k / 2), head 2 q + k % 2.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/attend/codes.cuh"
#include "kernels/ops/attend/kernel_args.h"

namespace moecast::kernels {

/// Probabilities carry this power of two, which out = sum / weight cancels: their f16 products with
/// small scales stay normal.
inline constexpr float kProbabilityBits = 8;
/// Below every score, and finite: a difference of two is a number.
inline constexpr float kLowest = -1e30F;

/// Groups are powers of two.
__device__ __forceinline__ int LogGroup(const KvPart& part) { return 31 - __clz(part.group); }

template <int kHead, int kTiles>
struct Running {
  static constexpr int kChannelTiles = kHead / kTile;
  uint32_t query[kTiles][kChannelTiles][2];  // B operand: head g, channels 2 q + 8 i + h
  float sum[kChannelTiles][kTiles][4];       // in units of the kind of page just read
  float zeros[kTiles][4];  // row j: what value zeros of channel group j add to each of its channels
  float query_sums[kTiles][kHead / 32][2];  // of 32 channels, heads 2 q, 2 q + 1
  float largest[kTiles][2];                 // score so far, in powers of two
  float weight[kTiles][2];                  // of this lane's rows
};

template <int kHead, int kTiles>
__device__ __forceinline__ void Clear(Running<kHead, kTiles>& run) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      run.zeros[n][k] = 0;
#pragma unroll
      for (int c = 0; c < kHead / kTile; ++c) run.sum[c][n][k] = 0;
    }
    run.largest[n][0] = run.largest[n][1] = kLowest;
    run.weight[n][0] = run.weight[n][1] = 0;
  }
}

/// Reads the heads' queries, [heads][kHead].
template <int kHead, int kTiles>
__device__ __forceinline__ void LoadQuery(const __nv_bfloat16* query, int heads,
                                          Running<kHead, kTiles>& run) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const int head = 8 * n + g;
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint32_t pair = 0;
        if (head < heads)
          pair = __ldg(
              reinterpret_cast<const uint32_t*>(query + head * kHead + kTile * c + 8 * i + 2 * q));
        run.query[n][c][i] = pair;
      }
    }
  }
}

/// Makes the loaded bf16 query one of f16 for stored keys that are not bf16.
template <int kHead, int kTiles>
__device__ __forceinline__ void ConvertQuery(const CodeUnits& units, Running<kHead, kTiles>& run) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      const float scale = units.query[c % 4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t pair = run.query[n][c][i];
        run.query[n][c][i] = Halves(scale * __uint_as_float(pair << 16),
                                    scale * __uint_as_float(pair & 0xffff0000U));
      }
    }
  }
}

/// The sums of the converted query that a zero per token multiplies: a product with ones.
template <int kHead, int kTiles>
__device__ __forceinline__ void SumQuery(const CodeUnits& units, Running<kHead, kTiles>& run) {
  constexpr uint32_t kOnes = 0x3c003c00;
  const uint4 ones = make_uint4(kOnes, kOnes, kOnes, kOnes);
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int b = 0; b < kHead / 32; ++b) {
      float total[2] = {};
#pragma unroll
      for (int c = 2 * b; c < 2 * b + 2; ++c) {
        float tile[4] = {};
        Multiply<false>(tile, ones, run.query[n][c][0], run.query[n][c][1]);
        total[0] += units.key_shift[c % 4] * tile[0];
        total[1] += units.key_shift[c % 4] * tile[1];
      }
      run.query_sums[n][b][0] = total[0];
      run.query_sums[n][b][1] = total[1];
    }
  }
}

/// Multiplies the sums: from the units of stored values to true ones (CodeUnits::sum) or back
/// (CodeUnits::code). Those of bf16 slabs are true.
template <int kHead, int kTiles>
__device__ __forceinline__ void ChangeUnits(const float (&factors)[4],
                                            Running<kHead, kTiles>& run) {
#pragma unroll
  for (int c = 0; c < kHead / kTile; ++c) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k) run.sum[c][n][k] *= factors[c % 4];
    }
  }
}

/// The larger of a value over the lanes of one q.
__device__ __forceinline__ float LargestOfRows(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, 4));
  value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, 8));
  return fmaxf(value, __shfl_xor_sync(0xffffffffU, value, 16));
}
__device__ __forceinline__ float SumOfRows(float value) {
  value += __shfl_xor_sync(0xffffffffU, value, 4);
  value += __shfl_xor_sync(0xffffffffU, value, 8);
  return value + __shfl_xor_sync(0xffffffffU, value, 16);
}

/// Raises the largest scores to `top` of this lane's rows and rescales what was summed.
template <int kHead, int kTiles>
__device__ __forceinline__ void Raise(const float (&top)[kTiles][2], Running<kHead, kTiles>& run) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    float shrink[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float largest = fmaxf(LargestOfRows(top[n][h]), run.largest[n][h]);
      shrink[h] = ptx::Exp2(run.largest[n][h] - largest);
      run.largest[n][h] = largest;
      run.weight[n][h] *= shrink[h];
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      run.zeros[n][k] *= shrink[k % 2];
#pragma unroll
      for (int c = 0; c < kHead / kTile; ++c) run.sum[c][n][k] *= shrink[k % 2];
    }
  }
}

/// Turns scores, in powers of two, into probabilities against the largest so far.
template <int kHead, int kTiles, int kRows>
__device__ __forceinline__ void Normalise(float (&scores)[kRows][kTiles][4],
                                          Running<kHead, kTiles>& run) {
  float top[kTiles][2];
  bool grows = false;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      top[n][h] = fmaxf(scores[0][n][h], scores[0][n][2 + h]);
#pragma unroll
      for (int s = 1; s < kRows; ++s)
        top[n][h] = fmaxf(top[n][h], fmaxf(scores[s][n][h], scores[s][n][2 + h]));
      grows = grows || top[n][h] > run.largest[n][h];
    }
  }
  if (__any_sync(0xffffffffU, grows)) Raise(top, run);
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float below[2] = {kProbabilityBits - run.largest[n][0],
                            kProbabilityBits - run.largest[n][1]};
#pragma unroll
    for (int s = 0; s < kRows; ++s) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        scores[s][n][k] = ptx::Exp2(scores[s][n][k] + below[k % 2]);
        run.weight[n][k % 2] += scores[s][n][k];
      }
    }
  }
}

}  // namespace moecast::kernels
