// Adds a unit's values, weighted by the probabilities of its tokens, to the running sums. Scales
// multiply the probabilities, once per group of channels; zeros are summed apart, one row for each
// group, until the sequence ends.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/scores.cuh"

namespace moecast::kernels {

/// Probabilities as B operands: [0] tokens 2 q + h, [1] 8 further; head g.
template <bool kBf16, int kTiles, int kRows>
__device__ __forceinline__ void PackProbabilities(const float (&p)[kRows][kTiles][4],
                                                  uint32_t (&packed)[kRows][kTiles][2]) {
#pragma unroll
  for (int s = 0; s < kRows; ++s) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
        packed[s][n][i] = Transpose(kBf16 ? Bf16s(p[s][n][2 * i], p[s][n][2 * i + 1])
                                          : Halves(p[s][n][2 * i], p[s][n][2 * i + 1]));
    }
  }
}

/// All bits of those of two neighbouring tokens that come before `end`.
__device__ __forceinline__ uint32_t WrittenPair(int token, int end) {
  return token + 1 < end ? 0xffffffffU : token < end ? 0xffffU : 0U;
}

/// bf16 values, or fp8 values once their tokens' scales are in the probabilities. What lies in bf16
/// pages from token `end` on was never written and may be no number.
template <KvElement kElement, int kHead, int kTiles, int kRows>
__device__ __forceinline__ void WeighFloats(const PartAt& part, int end,
                                            const float (&p)[kRows][kTiles][4],
                                            Running<kHead, kTiles>& run) {
  constexpr bool kIsBf16 = kElement == KvElement::kBf16;
  uint32_t packed[kRows][kTiles][2];
  PackProbabilities<kIsBf16>(p, packed);
#pragma unroll
  for (int s = 0; s < kRows; ++s) {
    const int token = kTile * s + static_cast<int>(threadIdx.x) % 4 * 2;
    const uint32_t low = kIsBf16 ? WrittenPair(token, end) : ~0U;
    const uint32_t high = kIsBf16 ? WrittenPair(token + 8, end) : ~0U;
    uint4 unit;
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      if (StartsUnit<kElement>(s, c)) unit = LoadUnit<kElement, kHead>(part, s, c);
      uint4 a = FragmentOf<kElement, KvSide::kValues>(unit, s, c);
      a = make_uint4(a.x & low, a.y & low, a.z & high, a.w & high);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        Multiply<kIsBf16>(run.sum[c][n], a, packed[s][n][0], packed[s][n][1]);
    }
  }
}

template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void WeighFp8(const PartAt& part, float (&p)[kSlabs][kTiles][4],
                                         Running<kHead, kTiles>& run) {
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    const float2 scale = LoadFloatRows(part.scales, s);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k) p[s][n][k] *= k < 2 ? scale.x : scale.y;
    }
  }
  WeighFloats<kElement>(part, 0, p, run);
}

/// Row g of the zeros' sums takes channel group g; a lane beyond the groups adds nothing.
template <int kHead, int kTiles>
__device__ __forceinline__ void WeighZeros(const PartAt& part,
                                           const uint32_t (&packed)[kSlabs][kTiles][2],
                                           Running<kHead, kTiles>& run) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
  const bool holds = g * part.group < kHead;
  const auto place = static_cast<uint32_t>(2 * ((holds ? g : 0) * kPageTokens + 8 * q));
#pragma unroll
  for (int s = 0; s < kSlabs; s += 2) {
    uint4 zero = ptx::LoadShared(part.zeros + place + s / 2 * 2 * 32);
    if (!holds) zero = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      Multiply<false>(run.zeros[n], make_uint4(zero.x, 0, zero.y, 0), packed[s][n][0],
                      packed[s][n][1]);
      Multiply<false>(run.zeros[n], make_uint4(zero.z, 0, zero.w, 0), packed[s + 1][n][0],
                      packed[s + 1][n][1]);
    }
  }
}

template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void WeighIntegers(const PartAt& part,
                                              const float (&p)[kSlabs][kTiles][4],
                                              Running<kHead, kTiles>& run) {
  constexpr int kUnitSlabs = UnitTokenTiles(BitsOf(kElement));
  uint32_t packed[kSlabs][kTiles][2];
  PackProbabilities<false>(p, packed);
  WeighZeros(part, packed, run);
  uint32_t scaled[kSlabs][kTiles][2];
  uint4 units[kSlabs / kUnitSlabs];
  const uint32_t scales = part.scales + 16 * (threadIdx.x % 4);
#pragma unroll
  for (int c = 0; c < kHead / kTile; ++c) {
    if (c % 2 == 0) {  // a smaller group than 32 channels is none
      const uint32_t group =
          scales + static_cast<uint32_t>(((kTile * c) >> part.log_group) * 2 * kPageTokens);
#pragma unroll
      for (int s = 0; s < kSlabs; s += 2) {
        const uint4 scale = ptx::LoadShared(group + s / 2 * 2 * 32);
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          scaled[s][n][0] = TimesHalves(packed[s][n][0], scale.x);
          scaled[s][n][1] = TimesHalves(packed[s][n][1], scale.y);
          scaled[s + 1][n][0] = TimesHalves(packed[s + 1][n][0], scale.z);
          scaled[s + 1][n][1] = TimesHalves(packed[s + 1][n][1], scale.w);
        }
      }
    }
#pragma unroll
    for (int s = 0; s < kSlabs; ++s) {
      if (StartsUnit<kElement>(s, c)) units[s / kUnitSlabs] = LoadUnit<kElement, kHead>(part, s, c);
      const uint4 a = FragmentOf<kElement, KvSide::kValues>(units[s / kUnitSlabs], s, c);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        Multiply<false>(run.sum[c][n], a, scaled[s][n][0], scaled[s][n][1]);
    }
  }
}

}  // namespace moecast::kernels
