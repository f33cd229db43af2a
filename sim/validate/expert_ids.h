// ExpertIds: the experts of every token of a step as ids, from the rows that a replay counts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/replay/replay_table.h"
#include "sim/replay/routed_span.h"

namespace moecast {

class ExpertIds {
 public:
  /// `top_k`: slots per token and layer, the most that any row uses. `table` is null for a dense
  /// model.
  ExpertIds(std::shared_ptr<const ReplayTable> table, int64_t top_k);

  /// RETURNS: [MoE layer][token][top_k], ids ascending, kNoExpert behind the last kept one; empty
  /// for a dense model. Valid until the next call. COST: O(MoE layers * tokens * top_k).
  std::span<const uint16_t> Of(std::span<const RoutedSpan> spans);

 private:
  void FillLayer(int64_t layer, std::span<uint16_t> ids) const;

  std::shared_ptr<const ReplayTable> table_;
  size_t top_k_;
  std::vector<const Line*> rows_;  // [token] of the step
  std::vector<uint16_t> ids_;
};

}  // namespace moecast
