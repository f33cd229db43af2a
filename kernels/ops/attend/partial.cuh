// Partial results of a sequence and KV head, and how they become one: softmaxes over disjoint
// tokens merge with weights 2^(largest - largest of all).                [Dao22 FlashAttention 3.1]
#pragma once

#include <cstdint>

#include "kernels/ops/attend/running.cuh"

namespace moecast::kernels {

/// In the order of a warp's accumulators, so that every lane reads what it would have held.
template <int kHead, int kTiles>
struct alignas(16) Partial {
  static constexpr int kQuads = kHead / kTile * kTiles * 32;
  float4 sum[kQuads];  // quad (channel tile * kTiles + head tile) * 32 + lane
  float largest[8 * kTiles];
  float weight[8 * kTiles];
};

/// The sums in true units, from those of `units`, with the zeros of `values`; the weights over all
/// rows.
template <int kHead, int kTiles>
__device__ __forceinline__ void Complete(KvElement units, const KvPart& values,
                                         Running<kHead, kTiles>& run) {
  ChangeUnits(units, KvElement::kBf16, run);
  if (IsInteger(values.element)) {
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      const int lane = 4 * (kTile * c / values.group) + static_cast<int>(threadIdx.x) % 4;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float zero = __shfl_sync(0xffffffffU, run.zeros[n][h], lane);
          run.sum[c][n][h] += zero;
          run.sum[c][n][2 + h] += zero;
        }
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    run.weight[n][0] = SumOfRows(run.weight[n][0]);
    run.weight[n][1] = SumOfRows(run.weight[n][1]);
  }
}

/// REQUIRES: Complete.
template <int kHead, int kTiles>
__device__ __forceinline__ void Store(const Running<kHead, kTiles>& run,
                                      Partial<kHead, kTiles>& partial) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int c = 0; c < kHead / kTile; ++c) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const float(&s)[4] = run.sum[c][n];
      partial.sum[(c * kTiles + n) * 32 + lane] = make_float4(s[0], s[1], s[2], s[3]);
    }
  }
  if (lane >= 4) return;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      partial.largest[8 * n + 2 * lane + h] = run.largest[n][h];
      partial.weight[8 * n + 2 * lane + h] = run.weight[n][h];
    }
  }
}

/// Writes [heads][kHead] bf16. REQUIRES: Complete.
template <int kHead, int kTiles>
__device__ __forceinline__ void WriteOut(const Running<kHead, kTiles>& run, int heads,
                                         __nv_bfloat16* out) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float low = 1 / run.weight[n][0];
    const float high = 1 / run.weight[n][1];
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t pair =
            Transpose(Bf16s(low * run.sum[c][n][2 * i], high * run.sum[c][n][2 * i + 1]));
        if (8 * n + g < heads)
          *reinterpret_cast<uint32_t*>(out + (8 * n + g) * kHead + kTile * c + 8 * i + 2 * q) =
              pair;
      }
    }
  }
}

/// One quad of the merge of `count` partial results, with the softmax of its two heads.
struct MergedQuad {
  float sum[4] = {};
  float largest[2] = {kLowest, kLowest};
  float weight[2] = {};
};
template <int kHead, int kTiles>
__device__ __forceinline__ int FirstHeadOfQuad(int quad) {
  return 8 * (quad / 32 % kTiles) + 2 * (quad % 4);
}

/// Quad `quad` of the partial results that partial_of(0 .. count - 1) refers to.
template <int kHead, int kTiles, class PartialOf>
__device__ __forceinline__ MergedQuad Merge(int quad, int count, PartialOf partial_of) {
  const int head = FirstHeadOfQuad<kHead, kTiles>(quad);
  MergedQuad merged;
#pragma unroll 4
  for (int i = 0; i < count; ++i) {
    const Partial<kHead, kTiles>& partial = partial_of(i);
    const float4 quads = partial.sum[quad];
    const float sums[4] = {quads.x, quads.y, quads.z, quads.w};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float theirs = partial.largest[head + h];
      const float largest = fmaxf(merged.largest[h], theirs);
      const float old = ptx::Exp2(merged.largest[h] - largest);
      const float add = ptx::Exp2(theirs - largest);
      merged.largest[h] = largest;
      merged.weight[h] = old * merged.weight[h] + add * partial.weight[head + h];
      merged.sum[h] = old * merged.sum[h] + add * sums[h];
      merged.sum[2 + h] = old * merged.sum[2 + h] + add * sums[2 + h];
    }
  }
  return merged;
}

template <int kHead, int kTiles>
__device__ __forceinline__ void Store(const MergedQuad& merged, int quad,
                                      Partial<kHead, kTiles>& partial) {
  const int head = FirstHeadOfQuad<kHead, kTiles>(quad);
  partial.sum[quad] = make_float4(merged.sum[0], merged.sum[1], merged.sum[2], merged.sum[3]);
  if (quad / 32 >= kTiles || quad % 32 >= 4) return;  // the quads of channel tile 0, row 0
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    partial.largest[head + h] = merged.largest[h];
    partial.weight[head + h] = merged.weight[h];
  }
}

template <int kHead, int kTiles>
__device__ __forceinline__ void WriteOut(const MergedQuad& merged, int quad, int heads,
                                         __nv_bfloat16* out) {
  const int channel = quad / (32 * kTiles) * kTile + quad % 32 / 4;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int head = FirstHeadOfQuad<kHead, kTiles>(quad) + h;
    if (head >= heads) continue;
    const float scale = 1 / merged.weight[h];
    out[head * kHead + channel] = __float2bfloat16(scale * merged.sum[h]);
    out[head * kHead + channel + 8] = __float2bfloat16(scale * merged.sum[2 + h]);
  }
}

}  // namespace moecast::kernels
