// Scores of the tokens of a unit, in powers of two, from its keys in shared memory. Scales per
// channel multiply the query, once per group of tokens; scales per token multiply the scores; so no
// code is ever multiplied by a scale.
#pragma once

#include <cstdint>

#include "kernels/ops/attend/running.cuh"

namespace moecast::kernels {

/// Keys or values of a unit in shared memory.
struct PartAt {
  uint32_t codes;
  uint32_t scales;
  uint32_t zeros;
  int32_t group;
  int32_t log_group;
};

__device__ __forceinline__ uint2 LoadSharedPair(uint32_t address) {
  uint2 v;
  asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(address));
  return v;
}
__device__ __forceinline__ float LoadSharedFloat(uint32_t address) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address));
  return v;
}

/// Where this lane's row g of a slab is among a group's metadata; row g + 8 is two places further.
__device__ __forceinline__ uint32_t RowPlace(int slab) {
  const uint32_t g = threadIdx.x % 32 / 4;
  return static_cast<uint32_t>(32 * (slab / 2) + 4 * (slab % 2)) + 8 * (g / 2) + g % 2;
}

/// Rows g and g + 8 of a slab: f16 numbers of one group of channels.
__device__ __forceinline__ float2 LoadHalfRows(uint32_t group, int slab) {
  const int upper = static_cast<int>(threadIdx.x) / 4 % 2;
  const uint2 words = LoadSharedPair(group + 2 * (RowPlace(slab) - static_cast<uint32_t>(upper)));
  return make_float2(HalfAt(words.x, upper), HalfAt(words.y, upper));
}
__device__ __forceinline__ float2 LoadFloatRows(uint32_t group, int slab) {
  const uint32_t place = group + 4 * RowPlace(slab);
  return make_float2(LoadSharedFloat(place), LoadSharedFloat(place + 8));
}

/// The unit of fragment (`slab`, `tile`) of a part, of 16 bytes a lane.
template <KvElement kElement, int kHead>
__device__ __forceinline__ uint4 LoadUnit(const PartAt& part, int slab, int tile) {
  constexpr int kBits = BitsOf(kElement);
  constexpr int kUnits = kHead / kTile / UnitChannelTiles(kBits);  // along channels
  const int unit = slab / UnitTokenTiles(kBits) * kUnits + tile / UnitChannelTiles(kBits);
  return ptx::LoadShared(part.codes + static_cast<uint32_t>(unit * kUnitBytes) +
                         16 * (threadIdx.x % 32));
}
/// Whether (`slab`, `tile`), in the order in which they are walked, is its unit's first.
template <KvElement kElement>
__device__ __forceinline__ constexpr bool StartsUnit(int slab, int tile) {
  return slab % UnitTokenTiles(BitsOf(kElement)) == 0 &&
         tile % UnitChannelTiles(BitsOf(kElement)) == 0;
}

/// Scores of bf16 keys. `factor`: softmax scale in powers of two.
template <int kHead, int kTiles, int kRows>
__device__ __forceinline__ void ScoreBf16(const PartAt& part, float factor,
                                          const Running<kHead, kTiles>& run,
                                          float (&scores)[kRows][kTiles][4]) {
#pragma unroll
  for (int s = 0; s < kRows; ++s) {
    float odd[kTiles][4] = {};  // two chains are half as long
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      const uint4 a = LoadUnit<KvElement::kBf16, kHead>(part, s, c);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        Multiply<true>(c % 2 == 0 ? scores[s][n] : odd[n], a, run.query[n][c][0],
                       run.query[n][c][1]);
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k) scores[s][n][k] = factor * (scores[s][n][k] + odd[n][k]);
    }
  }
}

/// fp8 keys with a scale per token.
template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void ScoreFp8(const PartAt& part, const Running<kHead, kTiles>& run,
                                         float (&scores)[kSlabs][kTiles][4]) {
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    uint4 unit;
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      if (StartsUnit<kElement>(s, c)) unit = LoadUnit<kElement, kHead>(part, s, c);
      const uint4 a = FragmentOf<kElement, KvSide::kKeys>(unit, s, c);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
        Multiply<false>(scores[s][n], a, run.query[n][c][0], run.query[n][c][1]);
    }
    const float2 scale = LoadFloatRows(part.scales, s);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k) scores[s][n][k] *= k < 2 ? scale.x : scale.y;
    }
  }
}

/// Integer keys with one scale and zero per token.
template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void ScoreByWholeToken(const PartAt& part,
                                                  const Running<kHead, kTiles>& run,
                                                  float (&scores)[kSlabs][kTiles][4]) {
  constexpr float kUnshift = 1 << kSubnormalBits;
  constexpr int kUnitSlabs = UnitTokenTiles(BitsOf(kElement));
#pragma unroll
  for (int first = 0; first < kSlabs; first += kUnitSlabs) {
    uint4 unit;
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      if (StartsUnit<kElement>(first, c)) unit = LoadUnit<kElement, kHead>(part, first, c);
#pragma unroll
      for (int s = first; s < first + kUnitSlabs; ++s) {
        const uint4 a = FragmentOf<kElement, KvSide::kKeys>(unit, s, c);
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
          Multiply<false>(scores[s][n], a, run.query[n][c][0], run.query[n][c][1]);
      }
    }
  }
  float query_sum[kTiles][2] = {};
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int b = 0; b < kHead / 32; ++b) {
      query_sum[n][0] += run.query_sums[n][b][0];
      query_sum[n][1] += run.query_sums[n][b][1];
    }
  }
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    const float2 scale = LoadHalfRows(part.scales, s);
    const float2 zero = LoadHalfRows(part.zeros, s);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        scores[s][n][k] = kUnshift * (k < 2 ? scale.x : scale.y) * scores[s][n][k] +
                          (k < 2 ? zero.x : zero.y) * query_sum[n][k % 2];
    }
  }
}

/// Integer keys with scales and zeros per token and group of channels.
template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void ScoreByToken(const PartAt& part, const Running<kHead, kTiles>& run,
                                             float (&scores)[kSlabs][kTiles][4]) {
  constexpr float kUnshift = 1 << kSubnormalBits;
  constexpr int kUnitSlabs = UnitTokenTiles(BitsOf(kElement));
#pragma unroll
  for (int first = 0; first < kSlabs; first += kUnitSlabs) {
    float partial[kUnitSlabs][kTiles][4] = {};
    float query_sum[kTiles][2] = {};
    uint32_t group = 0;
    uint4 unit;
#pragma unroll
    for (int c = 0; c < kHead / kTile; ++c) {
      if (StartsUnit<kElement>(first, c)) unit = LoadUnit<kElement, kHead>(part, first, c);
#pragma unroll
      for (int s = 0; s < kUnitSlabs; ++s) {
        const uint4 a = FragmentOf<kElement, KvSide::kKeys>(unit, first + s, c);
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
          Multiply<false>(partial[s][n], a, run.query[n][c][0], run.query[n][c][1]);
      }
      if (c % 2 == 0) continue;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        query_sum[n][0] += run.query_sums[n][c / 2][0];
        query_sum[n][1] += run.query_sums[n][c / 2][1];
      }
      if (((kTile * (c + 1)) & (part.group - 1)) != 0) continue;  // a group is a power of two
#pragma unroll
      for (int s = 0; s < kUnitSlabs; ++s) {
        const float2 scale = LoadHalfRows(part.scales + group, first + s);
        const float2 zero = LoadHalfRows(part.zeros + group, first + s);
        const float factor[2] = {kUnshift * scale.x, kUnshift * scale.y};
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            scores[first + s][n][k] +=
                factor[k / 2] * partial[s][n][k] + (k < 2 ? zero.x : zero.y) * query_sum[n][k % 2];
            partial[s][n][k] = 0;
          }
        }
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) query_sum[n][0] = query_sum[n][1] = 0;
      group += 2 * kPageTokens;
    }
  }
}

/// Adds to `zeros` what the zeros of 32 channels add to scores: rows 0 .. 7 for the first 32
/// tokens, 8 .. 15 for the others. Their metadata is at `low` and `high`.
template <int kBits, int kHead, int kTiles>
__device__ __forceinline__ void ScoreZeros(uint32_t low, uint32_t high, int first_tile,
                                           const Running<kHead, kTiles>& run,
                                           float (&zeros)[kTiles][4]) {
  const uint4 l = ptx::LoadShared(low);
  const uint4 h = ptx::LoadShared(high);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int c = first_tile + i;
    uint4 a = i == 0 ? make_uint4(l.x, h.x, l.y, h.y) : make_uint4(l.z, h.z, l.w, h.w);
    const int shift = TileShift(KvSide::kKeys, kBits, c);
    if (shift > 0) {  // the query has the codes' shift undone, which a zero does not have
      const uint32_t unshift = Halves(PowerOfTwo(shift), PowerOfTwo(shift));
      a = make_uint4(TimesHalves(a.x, unshift), TimesHalves(a.y, unshift),
                     TimesHalves(a.z, unshift), TimesHalves(a.w, unshift));
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
      Multiply<false>(zeros[n], a, run.query[n][c][0], run.query[n][c][1]);
  }
}

/// The query of the four channel tiles from `first_tile` times the scales at `scales`.
template <int kHead, int kTiles>
__device__ __forceinline__ void ScaleQuery(uint32_t scales, int first_tile,
                                           const Running<kHead, kTiles>& run,
                                           uint32_t (&scaled)[4][kTiles][2]) {
#pragma unroll
  for (int b = 0; b < 4; b += 2) {
    const uint4 scale = ptx::LoadShared(scales + static_cast<uint32_t>(b * 32));
    const int c = first_tile + b;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      scaled[b][n][0] = TimesHalves(run.query[n][c][0], scale.x);
      scaled[b][n][1] = TimesHalves(run.query[n][c][1], scale.y);
      scaled[b + 1][n][0] = TimesHalves(run.query[n][c + 1][0], scale.z);
      scaled[b + 1][n][1] = TimesHalves(run.query[n][c + 1][1], scale.w);
    }
  }
}

/// Integer keys with scales and zeros per channel and group of tokens.
template <KvElement kElement, int kHead, int kTiles>
__device__ __forceinline__ void ScoreByChannel(const PartAt& part,
                                               const Running<kHead, kTiles>& run,
                                               float (&scores)[kSlabs][kTiles][4]) {
  constexpr int kBits = BitsOf(kElement);
  // Bytes from the metadata of tokens 0 .. 31 to that of 32 .. 63.
  const uint32_t second = part.group == 32 ? 2 * kHead : 0;
  float zeros[kTiles][4] = {};
#pragma unroll
  for (int block = 0; block < kHead / 64; ++block) {  // of channels
    const uint32_t metadata = 2 * (64 * block + 8 * (threadIdx.x % 4));
    uint32_t scaled[4][kTiles][2];
    uint4 unit;
#pragma unroll
    for (int s = 0; s < kSlabs; ++s) {
      if (s % 2 == 0)
        ScaleQuery(part.scales + metadata + (s == 2 ? second : 0), 4 * block, run, scaled);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (StartsUnit<kElement>(s, c)) unit = LoadUnit<kElement, kHead>(part, s, 4 * block + c);
        const uint4 a = FragmentOf<kElement, KvSide::kKeys>(unit, s, c);
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
          Multiply<false>(scores[s][n], a, scaled[c][n][0], scaled[c][n][1]);
      }
    }
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      const uint32_t low = part.zeros + metadata + b * 2 * 32;
      ScoreZeros<kBits>(low, low + second, 4 * block + 2 * b, run, zeros);
    }
  }
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    const float unshift = PowerOfTwo(kSubnormalBits - SlabShift(KvSide::kKeys, kBits, s));
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        scores[s][n][k] = unshift * scores[s][n][k] + zeros[n][2 * (s / 2) + k % 2];
    }
  }
}

}  // namespace moecast::kernels
