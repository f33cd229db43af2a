// RoutingSource: the exact expert histogram of every step. Replays bound trace sequences, under a
// rule that was applied when they were loaded or one that looks at the step, or gives the closed
// form of independent uniform routing. Not shared by threads; a table is.
#pragma once

#include <variant>

#include "sim/replay/replay_source.h"
#include "sim/replay/routed_span.h"
#include "sim/replay/selecting_source.h"
#include "sim/replay/uniform_source.h"

namespace moecast {

/// A dense model: no expert layers, nothing to count.
struct NoRouting {
  [[nodiscard]] SequenceId Bind(RequestId /*request*/) const { return SequenceId{}; }
  void Count(std::span<const RoutedSpan> /*spans*/, int64_t /*padding_rows*/,
             std::span<ExpertLoad> /*loads*/, const StepLoad& /*load*/ = {}) {}
  void AddToTotals(const RoutedSpan& /*span*/) {}
  [[nodiscard]] RoutingNotes notes() const { return {}; }
  [[nodiscard]] std::span<const uint64_t> totals() const { return {}; }
};

using RoutingSource = std::variant<NoRouting, ReplaySource, UniformSource, SelectingSource>;

}  // namespace moecast
