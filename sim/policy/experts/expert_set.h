// ExpertSet: the experts that all tokens of a step may use, layer by layer, and a token's best ones
// within it. The parts that OEA, XShare, LYNX and SERE have in common.
#pragma once

#include <cstdint>

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// Words of one layer's set, with a place for the id that means none.
constexpr int64_t SetWords(const RankedShape& shape) {
  return RoundUp(shape.experts + 1, 256) / 64;
}
/// Utilities of one layer, with such a place too.
constexpr int64_t UtilityStride(const RankedShape& shape) {
  return RoundUp(shape.experts + 1, kExpertBlock);
}
inline bool IsMember(const uint64_t* set, int64_t expert) {
  constexpr int64_t kWordBits = 64;
  return (set[expert / kWordBits] >> (expert % kWordBits) & 1) != 0;
}

/// Makes the sets the union over tokens of each one's best experts. COST: one bit row per token.
void StartSets(const RankedBatch& batch, BatchScratch& scratch);

/// Fills utilities of the layers that `open` lists: per expert, the sum over tokens of the weights
/// of its ranks. REQUIRES: rows have weights. COST: one addition per rank.
void SumWeights(const RankedBatch& batch, BatchScratch& scratch);

/// Fills every layer's set up to `experts` members, highest utility first, the lower id first
/// among equals. Members stay, even if there are more. Experts of utility 0 are not added.
/// COST: SumWeights of the layers that have room.
void FillByBudget(const RankedBatch& batch, int64_t experts, BatchScratch& scratch);

/// Adds, per layer, the fewest highest utilities that hold `mass` of their sum; equals as above.
/// COST: SumWeights of all layers.
void FillByMass(const RankedBatch& batch, double mass, BatchScratch& scratch);

/// Which of a token's ranks it takes.
struct TakeLimit {
  int64_t ranks = 0;  // that are looked at
  int64_t take = 0;   // most that are taken
};
/// Chooses every token's best members; fewer than `take` where fewer are. COST: a few dozen
/// instructions per token and layer.
void TakeBestMembers(const RankedBatch& batch, const TakeLimit& limit, BatchScratch& scratch);

}  // namespace moecast
