// Sere: an expert that only few tokens want gives its tokens to a similar one that is read anyway.
#pragma once

#include <algorithm>
#include <memory>
#include <span>

#include "sim/policy/experts/expert_similarity.h"
#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

/// The primary experts of a layer are the union over the step's tokens of each one's best `primary`
/// experts. Every other selected expert is replaced by the primary one it is most similar to, if
/// that similarity is at least the table's least, and else stays. Weights are not changed: a token
/// two of whose experts become one computes it twice, as two slots. [SERE26]
struct Sere {
  static constexpr bool kNeedsScores = false;
  static constexpr bool kHasWeights = false;
  int64_t primary = 1;
  std::shared_ptr<const ExpertSimilarity> similarity;  // not null; cut at the threshold
  [[nodiscard]] int64_t RanksWanted(int64_t top_k) const { return top_k; }
  [[nodiscard]] int64_t BestRanks(int64_t top_k) const { return std::min(primary, top_k); }
  [[nodiscard]] uint16_t Weight(const RankScore& /*rank*/) const { return 0; }
  /// Fills the sets; a replacement may take an expert twice, which no bit row says, so no token's
  /// experts are written. REQUIRES: the batch has the table's layers and experts.
  void Choose(const RankedBatch& batch, BatchScratch& scratch) const;
  /// What an expert's tokens are computed by in the step of the last Choose.
  [[nodiscard]] int64_t Target(int64_t moe_layer, int64_t expert,
                               const BatchScratch& scratch) const;
  /// Moves native counts [moe_layer][expert_stride] to the experts that compute them.
  void Redirect(const RankedShape& shape, const BatchScratch& scratch,
                std::span<uint32_t> counts) const;
  friend bool operator==(const Sere& a, const Sere& b) {
    return a.primary == b.primary && *a.similarity == *b.similarity;
  }
};

}  // namespace moecast
