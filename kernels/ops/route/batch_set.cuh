// The set of experts that a batch rule allows, agreed on by all blocks of the cluster.
#pragma once

#include "kernels/ops/route/cluster.cuh"
#include "kernels/ops/route/rank_experts.cuh"
#include "kernels/ops/route/select_shared.cuh"

namespace moecast::kernels::route {

/// Summed scores are integers of this unit, so that their order of addition does not matter.
inline constexpr float kUtilityUnit = 0x1p-30F;
inline constexpr unsigned long long kIsBest = 1ULL << 62U;

/// Adds one token's say: lane j < `count` has rank j's expert, `scores` are the token's own.
template <int kPerLane>
__device__ void AddToSet(const ExpertShape& shape, const BatchRule& rule, int expert, int count,
                         const float (&scores)[kPerLane], const SelectShared& shared) {
  if (Lane() < count && expert < shape.experts)
    atomicOr(&shared.best_bits[expert / 32], 1U << (expert % 32));
  if (rule.kind != BatchKind::kXShare) return;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int of = Lane() * kPerLane + i;
    if (of < shape.experts)
      atomicAdd(&shared.utility[of],
                static_cast<unsigned long long>(__float2ll_rn(scores[i] / kUtilityUnit)));
  }
}

/// Whether thread e's expert is among the `budget` first by (best of some token, utility, lower
/// number), or best of some token. Two barriers.
template <int kBlocks>
__device__ bool InBudget(const ExpertShape& shape, int budget, bool is_best,
                         const SelectShared& shared) {
  const int expert = static_cast<int>(threadIdx.x);
  unsigned long long key = 0;
  if (expert < shape.experts) {
    key = is_best ? kIsBest : 0;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) key += LoadFrom(block, &shared.utility[expert]);
  }
  ClusterArrive();  // every block has read every utility
  ClusterWait();
  if (expert < shape.experts) shared.utility[expert] = key;
  __syncthreads();
  int ahead = 0;
#pragma unroll 8
  for (int other = 0; other < shape.experts; ++other) {
    const unsigned long long theirs = shared.utility[other];
    ahead += theirs > key || (theirs == key && other < expert) ? 1 : 0;
  }
  return expert < shape.experts && (is_best || ahead < budget);
}

/// Turns what the tokens said into set_bits, in every block alike. Ends in a block barrier.
template <int kBlocks>
__device__ void AgreeOnSet(const ExpertShape& shape, const BatchRule& rule,
                           const SelectShared& shared) {
  ClusterArrive();
  ClusterWait();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  unsigned bits = 0;
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) bits |= LoadFrom(block, &shared.best_bits[warp]);
  if (rule.kind == BatchKind::kXShare) {
    const bool is_best = (bits >> Lane() & 1U) != 0;
    bits = __ballot_sync(kAll, InBudget<kBlocks>(shape, rule.budget, is_best, shared));
  }
  if (Lane() == 0) shared.set_bits[warp] = bits;
  __syncthreads();
}

/// Makes kNever of the keys of experts outside the set.
template <int kPerLane>
__device__ void ForbidOutsideSet(const SelectShared& shared, unsigned (&keys)[kPerLane]) {
  const int first = Lane() * kPerLane;
  const unsigned bits = shared.set_bits[first / 32] >> (first % 32);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if ((bits >> i & 1U) == 0) keys[i] = kNever;
  }
}

}  // namespace moecast::kernels::route
