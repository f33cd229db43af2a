// XShare: the step's tokens share a set of experts of a given size, chosen for what they want most.
#pragma once

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// The set of a layer is every token's best expert, then, up to `budget` experts, those with the
/// largest sum of scores over the tokens; each token takes its best top-k experts of the set. The
/// sum runs over the recorded ranks. More best experts than the budget are all kept. [XShare26]
struct XShare {
  static constexpr bool kNeedsScores = true;
  static constexpr bool kHasWeights = true;
  int64_t budget = 0;
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const { return top_k + 1; }
  [[nodiscard]] int64_t BestRanks(int64_t /*top_k*/) const { return 1; }
  [[nodiscard]] uint16_t Weight(const RankScore& rank) const { return ScoreWeight(rank.score); }
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  friend bool operator==(const XShare&, const XShare&) = default;
};

}  // namespace moecast
