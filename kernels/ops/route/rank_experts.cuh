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
/// undefined.
template <int kPerLane>
__device__ void LoadLogits(const ExpertShape& shape, const float* partial, int token,
                           float (&logits)[kPerLane]) {
  using Vector = std::conditional_t<kPerLane == 2, float2, float4>;
  constexpr int kVectors = kPerLane * sizeof(float) / sizeof(Vector);
  constexpr int kInFlight = 8 / kVectors > 0 ? 8 / kVectors : 1;  // splits
  const int pitch = LogitPitch(shape.experts);
  const int splits = GateSplits(shape.hidden);
  const bool inside = Lane() * kPerLane < pitch;
  const float* row = partial + static_cast<size_t>(token) * pitch + Lane() * kPerLane;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) logits[i] = 0;
  for (int first = 0; first < splits; first += kInFlight) {
    Vector part[kInFlight][kVectors];
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        part[s][v] = Vector{};
        if (inside && first + s < splits)
          part[s][v] = __ldcg(reinterpret_cast<const Vector*>(row + static_cast<size_t>(first + s) *
                                                                        shape.tokens * pitch) +
                              v);
      }
    }
#pragma unroll
    for (int s = 0; s < kInFlight; ++s) {
      const auto& values = reinterpret_cast<const float(&)[kPerLane]>(part[s]);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) logits[i] += values[i];
    }
  }
}

__device__ __forceinline__ float Sigmoid(float logit) { return 1.0F / (1.0F + __expf(-logit)); }

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

/// The `count` best keys, ties to the lower expert: lane j ends with rank j's expert and key, with
/// `nobody` and kNever where fewer may be chosen. REQUIRES: count <= 32. Chosen keys become kNever.
template <int kPerLane>
__device__ void TakeBest(unsigned (&keys)[kPerLane], int count, int nobody, int& expert,
                         unsigned& key) {
  expert = nobody;
  key = kNever;
  for (int rank = 0; rank < count; ++rank) {
    unsigned best = keys[0];
#pragma unroll
    for (int i = 1; i < kPerLane; ++i) best = max(best, keys[i]);
    const unsigned top = __reduce_max_sync(kAll, best);
    if (top == kNever) return;
    const int winner = __ffs(static_cast<int>(__ballot_sync(kAll, best == top))) - 1;
    int where = 0;
#pragma unroll
    for (int i = kPerLane - 1; i >= 0; --i) where = keys[i] == top ? i : where;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) keys[i] = Lane() == winner && i == where ? kNever : keys[i];
    const int chosen = winner * kPerLane + __shfl_sync(kAll, where, winner);
    if (Lane() == rank) expert = chosen, key = top;
  }
}

}  // namespace moecast::kernels::route
