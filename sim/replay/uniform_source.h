// UniformSource: expected loads when every token picks its k experts uniformly and independently.
// For theory and for models without a trace. docs/model/replay.md, "Uniform routing".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/ids.h"
#include "sim/model/step_shape.h"
#include "sim/policy/step_load.h"
#include "sim/replay/expert_counter.h"
#include "sim/replay/routed_span.h"

namespace moecast {

/// Tokens of one step under uniform routing.
struct UniformBatch {
  int64_t rows = 0;     // independent tokens, >= 1
  int64_t padding = 0;  // further copies of one of them
};

/// One expert-parallel rank: `rank_experts` out of `experts`, of which a token picks k.
struct UniformRank {
  int64_t experts = 0;
  int64_t rank_experts = 0;
  int64_t k = 0;
  int64_t tile_rows = 1;
};

/// Expected load of one rank. A, D and P are exact expectations; m is exact for one token and else
/// a few percent low, because it takes the experts' loads as independent.
/// REQUIRES: 1 <= k <= experts, 1 <= rank_experts <= experts, batch.rows >= 1.
/// COST: O(k sqrt(rows)) exponentials.
ExpertLoad ExpectedUniformLoad(const UniformRank& rank, const UniformBatch& batch);

class UniformSource {
 public:
  /// `k_per_layer` has one entry per MoE layer. REQUIRES: shape.expert_ranks divides experts.
  UniformSource(int64_t moe_layers, int64_t experts, std::vector<int64_t> k_per_layer,
                LoadShape shape);
  [[nodiscard]] SequenceId Bind(RequestId /*request*/) const { return SequenceId{}; }
  /// As ReplaySource::Count, with expectations; all ranks of a layer get the same load.
  void Count(std::span<const RoutedSpan> spans, int64_t padding_rows, std::span<ExpertLoad> loads,
             const StepLoad& load = {});
  void AddToTotals(const RoutedSpan& /*span*/) {}
  [[nodiscard]] const RoutingNotes& notes() const { return notes_; }
  [[nodiscard]] std::span<const uint64_t> totals() const { return {}; }

 private:
  /// The last answer for one k: steady batches ask the same again.
  struct Known {
    int64_t k = 0;
    UniformBatch batch;
    ExpertLoad load;
  };
  const ExpertLoad& LoadOf(int64_t k, const UniformBatch& batch);
  void AddMixed(std::span<ExpertLoad> loads) const;

  int64_t experts_;
  std::vector<int64_t> k_per_layer_;
  LoadShape shape_;
  RoutingNotes notes_;
  std::vector<Known> known_;
};

}  // namespace moecast
