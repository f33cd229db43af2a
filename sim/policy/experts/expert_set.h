// ExpertSet: the experts that all tokens of a step may use, layer by layer, and a token's best ones
// within it. The parts that OEA, XShare, LYNX and SERE have in common.
#pragma once

#include <cstdint>

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// Bytes between the sets of two layers: one place more than experts, for the id that means none.
constexpr int64_t MemberStride(const RankedShape& shape) {
  return RoundUp(shape.experts + 1, kExpertBlock);
}

/// Empties the sets and the counts.
void ClearSets(const RankedShape& shape, BatchScratch& scratch);

/// Adds every token's best `ranks` experts to the sets. COST: one store per rank.
void AddBest(const RankedBatch& batch, int64_t ranks, BatchScratch& scratch);

/// Fills utilities: per layer and expert, the sum over tokens of the weights of its ranks.
/// REQUIRES: the batch has weights. COST: one addition per rank.
void SumWeights(const RankedBatch& batch, BatchScratch& scratch);

/// Fills every layer's set up to `experts` members, highest utility first, the lower id first
/// among equals. Members stay, even if there are more. Experts of utility 0 are not added.
void FillByBudget(const RankedShape& shape, int64_t experts, BatchScratch& scratch);

/// Adds, per layer, the fewest highest utilities that hold `mass` of their sum; equals as above.
void FillByMass(const RankedShape& shape, double mass, BatchScratch& scratch);

/// Counts every token's best top_k experts within the sets, among its first `ranks` ranks; fewer
/// where fewer are members. COST: one addition per expert taken.
void CountBestMembers(const RankedBatch& batch, int64_t ranks, BatchScratch& scratch);

}  // namespace moecast
