// AllocTokens: a layer computes a fixed number of experts for the whole step and gives them to the
// tokens whose router is surest of a further expert.
#pragma once

#include "sim/policy/experts/gate_row.h"
#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// Alloc-T of Alloc-MoE: with T tokens a layer has floor(T * mean_k) slots. Every token gets its
/// best base_k experts; the other slots go to the highest scores among the remaining native top-k
/// ranks of all tokens, the earlier token and the better rank first among equals. [Alloc26] mean_k
/// per layer is what Alloc-L chooses: sim/replay/schedule_search.h.
struct AllocTokens {
  static constexpr bool kNeedsScores = true;
  static constexpr bool kHasWeights = true;
  PerMoeLayer mean_k;  // in [base_k, top_k]
  int64_t base_k = 1;
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const { return top_k; }
  [[nodiscard]] int64_t BestRanks(int64_t /*top_k*/) const { return base_k; }
  /// Base ranks weigh most, so that they are the highest; no other rank does.
  [[nodiscard]] uint16_t Weight(const RankScore& rank) const;
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  friend bool operator==(const AllocTokens&, const AllocTokens&) = default;
};

}  // namespace moecast
