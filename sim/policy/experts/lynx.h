// Lynx: a batch keeps the experts that its tokens agree on most, counted by bins of affinity.
#pragma once

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// A token's affinity to an expert falls into the bin
///   clamp(floor(sharpness * ln(s_e / s_1)), -bins, 0),
/// and an expert's score is the sum over the step's tokens of base^bin. The set of a layer is the
/// fewest experts that hold `mass` of all scores, and every token's best; each token takes its best
/// top-k experts of the set. ln(s_e / s_1) is the difference of logits under softmax. [Lynx24]
/// The published rule keeps "the active set from the score distribution" without saying where it
/// cuts; `mass` is our reading.
struct Lynx {
  static constexpr bool kNeedsScores = true;
  static constexpr bool kHasWeights = true;
  double mass = 1;       // in (0, 1]
  double sharpness = 1;  // alpha, > 0
  int64_t bins = 1;      // beta, >= 1
  double base = 2;       // > 1
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const { return top_k + 1; }
  [[nodiscard]] int64_t BestRanks(int64_t /*top_k*/) const { return 1; }
  [[nodiscard]] uint16_t Weight(const RankScore& rank) const;
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  friend bool operator==(const Lynx&, const Lynx&) = default;
};

}  // namespace moecast
