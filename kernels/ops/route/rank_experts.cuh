// One warp ranks the experts of one token. Expert e is element e % kPerLane of lane e / kPerLane,
// kPerLane a power of two, so that a lower lane holds lower experts.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/ops/route/gate.cuh"
#include "kernels/ops/route/routing_rule.h"

namespace moecast::kernels::route {

inline constexpr unsigned kAll = 0xffffffffU;

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % 32; }

/// Bits of a float in its order: a larger value has larger bits, a number has bits above zero.
__device__ __forceinline__ unsigned OrderedBits(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ __forceinline__ float FromOrderedBits(unsigned bits) {
  return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7fffffffU : ~bits);
}
/// The key of an expert that may not be chosen: below every number's.
inline constexpr unsigned kNever = 0;

/// Sum over the warp; kWidth 16 where only the lower half holds anything.
template <int kWidth = 32>
__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int distance = kWidth / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAll, value, distance);
  return value;
}

/// The token's logits: the gate product's splits, summed in order. Elements from E on are
/// undefined. Every load is unconditional, so that all of a round are in flight together.
template <int kPerLane>
__device__ void LoadLogits(const ExpertShape& shape, const float* partial, int token,
                           float (&logits)[kPerLane]) {
  using Vector = std::conditional_t<kPerLane == 2, float2, float4>;
  constexpr int kVectors = kPerLane * sizeof(float) / sizeof(Vector);
  constexpr int kInFlight = kVectors > 2 ? 2 : 4;  // splits
  const int pitch = LogitPitch(shape.experts);
  const int splits = GateSplits(shape.hidden);
  const int column = min(Lane() * kPerLane, pitch - kPerLane);
  const float* row = partial + static_cast<size_t>(token) * pitch + column;
  const size_t split = static_cast<size_t>(shape.tokens) * pitch;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) logits[i] = 0;
  for (int first = 0; first < splits; first += kInFlight) {
    Vector part[kInFlight][kVectors];
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
#pragma unroll
      for (int v = 0; v < kVectors; ++v)
        part[s][v] =
            __ldcg(reinterpret_cast<const Vector*>(row + min(first + s, splits - 1) * split) + v);
    }
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
      const auto& values = reinterpret_cast<const float(&)[kPerLane]>(part[s]);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) logits[i] += first + s < splits ? values[i] : 0.0F;
    }
  }
}

__device__ __forceinline__ float Sigmoid(float logit) {
  return __fdividef(1.0F, 1.0F + __expf(-logit));
}

/// Scores of all experts from their logits, in place: softmax or sigmoid; 0 from E on.
template <int kPerLane>
__device__ void ScoreAll(const ExpertShape& shape, ScoreKind kind, float (&values)[kPerLane]) {
  const int first = Lane() * kPerLane;
  if (kind == ScoreKind::kSigmoid) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i)
      values[i] = first + i < shape.experts ? Sigmoid(values[i]) : 0.0F;
    return;
  }
  unsigned top = kNever;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    top = first + i < shape.experts ? max(top, OrderedBits(values[i])) : top;
  const float best = FromOrderedBits(__reduce_max_sync(kAll, top));
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    values[i] = first + i < shape.experts ? __expf(values[i] - best) : 0.0F;
    sum += values[i];
  }
  const float inverse = 1.0F / WarpSum(sum);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) values[i] *= inverse;
}

/// Largest of a lane's keys.
template <int kPerLane>
__device__ __forceinline__ unsigned LaneMax(const unsigned (&keys)[kPerLane]) {
  unsigned largest[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) largest[i] = keys[i];
#pragma unroll
  for (int step = kPerLane / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < step; ++i) largest[i] = max(largest[i], largest[i + step]);
  }
  return largest[0];
}

/// The key at the expert of this lane's choice; every lane's keys are in reach.
template <int kPerLane>
__device__ __forceinline__ unsigned KeyAt(const unsigned (&keys)[kPerLane], int expert) {
  unsigned key = kNever;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const unsigned there = __shfl_sync(kAll, keys[i], expert / kPerLane);
    if (expert % kPerLane == i) key = there;
  }
  return key;
}

/// As TakeBest, for any keys, one warp-wide maximum and a vote per rank.
template <int kPerLane>
__device__ __noinline__ int TakeBestExactly(unsigned (&keys)[kPerLane], int count, int nobody) {
  int expert = nobody;
  for (int rank = 0; rank < count; ++rank) {
    const unsigned best = LaneMax(keys);
    const unsigned top = __reduce_max_sync(kAll, best);
    if (top == kNever) return expert;
    const int winner = __ffs(static_cast<int>(__ballot_sync(kAll, best == top))) - 1;
    int where = 0;
#pragma unroll
    for (int i = kPerLane - 1; i >= 0; --i) where = keys[i] == top ? i : where;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) keys[i] = Lane() == winner && i == where ? kNever : keys[i];
    const int chosen = winner * kPerLane + __shfl_sync(kAll, where, winner);
    if (Lane() == rank) expert = chosen;
  }
  return expert;
}

/// The `count` best keys, ties to the lower expert: lane j gets rank j's expert, or `nobody` where
/// fewer may be chosen. REQUIRES: count < 32.
/// A rank is one warp-wide maximum of keys whose low bits say which expert they are. Two
/// neighbouring ranks that the bits that are left do not tell apart are put in order by all of
/// them; should there be three, or should they be the last, the ranks are taken again.
template <int kPerLane>
__device__ int TakeBest(const unsigned (&keys)[kPerLane], int count, int nobody) {
  constexpr unsigned kIndexBits = 9;
  constexpr unsigned kIndexMask = (1U << kIndexBits) - 1U;
  unsigned packed[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const auto index = static_cast<unsigned>(Lane() * kPerLane + i);
    packed[i] = keys[i] == kNever ? kNever : (keys[i] & ~kIndexMask) | (kIndexMask - index);
  }
  unsigned mine = kNever;
#pragma unroll 1
  for (int rank = 0; rank <= count; ++rank) {
    const unsigned top = __reduce_max_sync(kAll, LaneMax(packed));
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) packed[i] = packed[i] == top ? kNever : packed[i];
    if (Lane() == rank) mine = top;
  }
  const bool chosen = mine != kNever;
  const int expert = static_cast<int>(kIndexMask - (mine & kIndexMask));
  const unsigned next = __shfl_down_sync(kAll, mine, 1);
  const unsigned alike =
      __ballot_sync(kAll, Lane() < count && next != kNever && (mine ^ next) <= kIndexMask);
  if (alike == 0) return chosen && Lane() < count ? expert : nobody;
  if ((alike & alike << 1) != 0 || (alike >> (count - 1) & 1U) != 0) {
    unsigned copy[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) copy[i] = keys[i];
    return TakeBestExactly(copy, count, nobody);
  }
  const bool is_first = (alike >> Lane() & 1U) != 0;
  const bool is_second = (alike << 1 >> Lane() & 1U) != 0;
  const int partner = Lane() + (is_first ? 1 : 0) - (is_second ? 1 : 0);
  const unsigned key = KeyAt(keys, chosen ? expert : 0);
  const unsigned other_key = __shfl_sync(kAll, key, partner);
  const int other = __shfl_sync(kAll, expert, partner);
  const bool swap = is_first ? other_key > key : other_key < key;
  if (!chosen || Lane() >= count) return nobody;
  return swap ? other : expert;
}

}  // namespace moecast::kernels::route
