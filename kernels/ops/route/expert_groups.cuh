// Group rules of a router: which experts a token may choose because of the groups they stand in.
// One warp per token, a lane per group.
#pragma once

#include "kernels/ops/route/rank_experts.cuh"

namespace moecast::kernels::route {

/// Lane g's reading of its group: keys row[g * size .. (g + 1) * size).
struct Group {
  const unsigned* keys;
  int size;
  int begin;  // where this lane starts, so that lanes read different banks

  __device__ __forceinline__ int Index(int step) const {
    const int j = begin + step;
    return j < size ? j : j - size;
  }
};

/// Bits of the `kept` groups whose two best keys have the largest sums.
__device__ inline unsigned BestGroups(const Group& group, int groups, int kept) {
  unsigned sum = kNever;
  if (Lane() < groups) {
    unsigned best = kNever;
    unsigned second = kNever;
    for (int step = 0; step < group.size; ++step) {
      const unsigned key = group.keys[group.Index(step)];
      second = max(second, min(best, key));
      best = max(best, key);
    }
    sum = OrderedBits(FromOrderedBits(best) + FromOrderedBits(second));
  }
  unsigned chosen = 0;
  for (int i = 0; i < kept; ++i) {
    const unsigned top = __reduce_max_sync(kAll, sum);
    const int winner = __ffs(static_cast<int>(__ballot_sync(kAll, sum == top))) - 1;
    chosen |= 1U << winner;
    if (Lane() == winner) sum = kNever;
  }
  return chosen;
}

/// The same where a group is a whole power of two of lanes: no scratch. RETURNS: whether this
/// lane's group is among the best.
template <int kPerLane>
__device__ bool InBestGroups(const unsigned (&keys)[kPerLane], int lanes_per_group, int groups,
                             int kept) {
  unsigned best = kNever;
  unsigned second = kNever;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    second = max(second, min(best, keys[i]));
    best = max(best, keys[i]);
  }
  for (int distance = 1; distance < lanes_per_group; distance *= 2) {
    const unsigned their_best = __shfl_xor_sync(kAll, best, distance);
    const unsigned their_second = __shfl_xor_sync(kAll, second, distance);
    second = max(max(second, their_second), min(best, their_best));
    best = max(best, their_best);
  }
  const float sum = FromOrderedBits(best) + FromOrderedBits(second);
  const int mine = Lane() / lanes_per_group;
  int ahead = 0;
#pragma unroll 8
  for (int group = 0; group < groups; ++group) {
    const float theirs = __shfl_sync(kAll, sum, group * lanes_per_group);
    ahead += theirs > sum || (theirs == sum && group < mine) ? 1 : 0;
  }
  return ahead < kept;
}

/// The last expert of a group that is among its `count` best; ties to the lower expert.
struct Last {
  unsigned key;
  int index;  // in the group
};
__device__ inline Last LastOfBest(const Group& group, int count) {
  Last last{~0U, -1};
  for (int i = 0; i < count; ++i) {
    Last next{kNever, group.size};
    for (int step = 0; step < group.size; ++step) {
      const int j = group.Index(step);
      const unsigned key = group.keys[j];
      const bool left = key < last.key || (key == last.key && j > last.index);
      if (left && (key > next.key || (key == next.key && j < next.index))) next = {key, j};
    }
    last = next;
  }
  return last;
}

/// Makes kNever of the keys that the token's groups forbid.
///   row  this warp's scratch, [kPerLane * 32]
template <int kPerLane>
__device__ void ForbidByGroups(const ExpertShape& shape, const ScoreRule& rule, unsigned* row,
                               unsigned (&keys)[kPerLane]) {
  const int size = shape.experts / rule.groups;
  const int lanes = size / kPerLane;
  const bool limited = rule.grouping == GroupKind::kLimited;
  if (limited && size % kPerLane == 0 && (lanes & (lanes - 1)) == 0) {
    if (InBestGroups(keys, lanes, rule.groups, rule.kept_groups)) return;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) keys[i] = kNever;
    return;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) row[Lane() * kPerLane + i] = keys[i];
  __syncwarp();
  const Group group{row + Lane() * size, size, Lane() % size};
  const unsigned chosen = limited ? BestGroups(group, rule.groups, rule.kept_groups) : 0;
  Last last{};
  if (!limited && Lane() < rule.groups) last = LastOfBest(group, shape.top_k / rule.groups);
  __syncwarp();
  const float inverse = 1.0F / static_cast<float>(size);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int expert = Lane() * kPerLane + i;
    const int of = static_cast<int>((static_cast<float>(expert) + 0.5F) * inverse) % 32;
    const unsigned last_key = __shfl_sync(kAll, last.key, of);
    const int last_index = __shfl_sync(kAll, last.index, of);
    const bool taken =
        keys[i] > last_key || (keys[i] == last_key && expert - of * size <= last_index);
    const bool allowed = limited ? (chosen >> of & 1U) != 0 : taken;
    if (!allowed) keys[i] = kNever;
  }
}

}  // namespace moecast::kernels::route
