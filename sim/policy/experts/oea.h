// Oea: the experts that the step's tokens need most are read anyway; every token may use them.
#pragma once

#include <algorithm>

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// Opportunistic expert activation. The set of a layer is the union over the step's tokens of each
/// one's best base_k experts; each token then takes its best experts of the set, up to most_k,
/// among its first max_rank ranks. [OEA25]
struct Oea {
  static constexpr bool kNeedsScores = false;
  static constexpr bool kHasWeights = false;
  int64_t base_k = 1;    // at most most_k
  int64_t most_k = 0;    // at most the native top-k; 0: the native top-k
  int64_t max_rank = 0;  // 0: every recorded rank, of which there must be more than the top-k
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const {
    return max_rank > 0 ? max_rank : top_k + 1;
  }
  [[nodiscard]] int64_t Most(int64_t top_k) const {
    return most_k > 0 ? std::min(most_k, top_k) : top_k;
  }
  [[nodiscard]] int64_t BestRanks(int64_t top_k) const { return std::min(base_k, Most(top_k)); }
  [[nodiscard]] uint16_t Weight(const RankScore& /*rank*/) const { return 0; }
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  friend bool operator==(const Oea&, const Oea&) = default;
};

}  // namespace moecast
