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
  float4 sum[kQuads];          // quad (channel tile * kTiles + head tile) * 32 + lane
  float4 softmax[4 * kTiles];  // largest and weight of head 2 i, of head 2 i + 1
};

static_assert(sizeof(Partial<128, 2>) == PartialBytes(2, 128));

/// The sums in true units, with the zeros of `values`; the weights over all rows. `slab`: the sums
/// are those of bf16 slabs.
template <int kHead, int kTiles>
__device__ __forceinline__ void Complete(const CodeUnits& units, bool slab, const KvPart& values,
                                         Running<kHead, kTiles>& run) {
  if (!slab) ChangeUnits(units.sum, run);
  if (IsInteger(values.element)) {
    const int log_group = LogGroup(values);
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      const int lane = 4 * (kTile * c >> log_group) + static_cast<int>(threadIdx.x) % 4;
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
  for (int n = 0; n < kTiles; ++n)
    partial.softmax[4 * n + lane] =
        make_float4(run.largest[n][0], run.weight[n][0], run.largest[n][1], run.weight[n][1]);
}

/// Writes [heads][kHead] bf16. REQUIRES: Complete.
template <int kHead, int kTiles>
__device__ __forceinline__ void WriteOut(const Running<kHead, kTiles>& run, int heads,
                                         __nv_bfloat16* out) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float low = __fdividef(1, run.weight[n][0]);
    const float high = __fdividef(1, run.weight[n][1]);
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

/// Quads of `heads` heads: those of pairs of which one is.
template <int kHead>
__device__ __forceinline__ int QuadsOf(int heads) {
  return kHead / kTile * 8 * ((heads + 1) / 2);
}
/// The place-th of them.
template <int kTiles>
__device__ __forceinline__ int QuadAt(int place, int heads) {
  const int pairs = (heads + 1) / 2;
  const int row = place / pairs;  // of 8 of a channel tile
  const int pair = place % pairs;
  return (row / 8 * kTiles + pair / 4) * 32 + 4 * (row % 8) + pair % 4;
}

/// Adds another partial result's quad.
__device__ __forceinline__ void Add(const float4& sum, const float4& softmax, MergedQuad& merged) {
  const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float theirs = h == 0 ? softmax.x : softmax.z;
    const float largest = fmaxf(merged.largest[h], theirs);
    const float old = ptx::Exp2(merged.largest[h] - largest);
    const float add = ptx::Exp2(theirs - largest);
    merged.largest[h] = largest;
    merged.weight[h] = old * merged.weight[h] + add * (h == 0 ? softmax.y : softmax.w);
    merged.sum[h] = old * merged.sum[h] + add * sums[h];
    merged.sum[2 + h] = old * merged.sum[2 + h] + add * sums[2 + h];
  }
}

/// A partial result passes between blocks word by word: +0 is a word that is not there yet, so a
/// zero travels as -0, and who reads takes it away.
__device__ __forceinline__ float Posted(float x) { return x == 0 ? -0.0F : x; }
template <int kHead, int kTiles>
__device__ __forceinline__ void Post(const MergedQuad& merged, int quad,
                                     Partial<kHead, kTiles>& partial) {
  ptx::StoreRelaxed(&partial.sum[quad], make_float4(Posted(merged.sum[0]), Posted(merged.sum[1]),
                                                    Posted(merged.sum[2]), Posted(merged.sum[3])));
  if (quad / 32 >= kTiles || quad % 32 >= 4) return;  // the quads of channel tile 0, row 0
  ptx::StoreRelaxed(&partial.softmax[FirstHeadOfQuad<kHead, kTiles>(quad) / 2],
                    make_float4(Posted(merged.largest[0]), Posted(merged.weight[0]),
                                Posted(merged.largest[1]), Posted(merged.weight[1])));
}
__device__ __forceinline__ bool IsThere(const float4& v) {
  return __float_as_uint(v.x) != 0 && __float_as_uint(v.y) != 0 && __float_as_uint(v.z) != 0 &&
         __float_as_uint(v.w) != 0;
}
/// Waits for quad `quad` of posted[first], posted[first + step], .. below `end` and adds them;
/// takes the sums away.
template <int kHead, int kTiles>
__device__ __forceinline__ void AddPosted(int quad, int first, int end, int step,
                                          Partial<kHead, kTiles>* posted, MergedQuad& merged) {
  constexpr int kAtOnce = 6;
  const int softmax = FirstHeadOfQuad<kHead, kTiles>(quad) / 2;
  for (; first < end; first += kAtOnce * step) {
    float4 sums[kAtOnce];
    float4 softmaxes[kAtOnce];
    bool there;
    do {
      there = true;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + i * step >= end) break;
        sums[i] = ptx::LoadRelaxed(&posted[first + i * step].sum[quad]);
        softmaxes[i] = ptx::LoadRelaxed(&posted[first + i * step].softmax[softmax]);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + i * step >= end) break;
        there = there && IsThere(sums[i]) && IsThere(softmaxes[i]);
      }
    } while (!there);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i * step >= end) break;
      Add(sums[i], softmaxes[i], merged);
      posted[first + i * step].sum[quad] = make_float4(0, 0, 0, 0);
    }
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
    const float scale = __fdividef(1, merged.weight[h]);
    out[head * kHead + channel] = __float2bfloat16(scale * merged.sum[h]);
    out[head * kHead + channel + 8] = __float2bfloat16(scale * merged.sum[2 + h]);
  }
}

}  // namespace moecast::kernels
