// ReplaySource: expert loads of a step from the trace rows its requests are bound to.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/base/rng.h"
#include "sim/policy/step_load.h"
#include "sim/replay/expert_counter.h"
#include "sim/replay/replay_table.h"
#include "sim/replay/routed_span.h"

namespace moecast {

class ReplaySource {
 public:
  /// REQUIRES: shape.expert_ranks divides the table's experts; tile_rows is a power of two.
  /// `kernels` is for tests; all give equal results.
  ReplaySource(std::shared_ptr<const ReplayTable> table, LoadShape shape, Seed seed,
               const CounterKernels& kernels = BestCounterKernels());

  /// The trace sequence this request replays: uniform over sequences, from the request's own
  /// stream, so every policy binds the same (INV-8).
  [[nodiscard]] SequenceId Bind(RequestId request) const;
  /// Writes loads[moe_layer * expert_ranks + rank] for one step (INV-7: assignments in = counted).
  /// `padding_rows` copies of the step's first row are added (routed graph padding).
  /// COST: decode rows below 1e-10 s per assignment; a long span O(MoE layers * experts), in
  /// microseconds. docs/performance/replay.md.
  void Count(std::span<const RoutedSpan> spans, int64_t padding_rows, std::span<ExpertLoad> loads,
             const StepLoad& load = {});
  /// Adds the experts that `span` used to the run's totals (call once per executed span; long spans
  /// cost little more than short ones).
  void AddToTotals(const RoutedSpan& span);

  [[nodiscard]] const RoutingNotes& notes() const { return notes_; }
  /// [moe_layer][expert] assignments so far, from AddToTotals.
  [[nodiscard]] std::span<const uint64_t> totals() const { return totals_; }

 private:
  void AddSpan(const RoutedSpan& span);
  void MoveWindow(const RoutedSpan& span);

  std::shared_ptr<const ReplayTable> table_;
  LoadShape shape_;
  Seed seed_;
  RoutingNotes notes_;
  std::vector<uint64_t> totals_;
  ExpertCounter counter_;    // reused from step to step
  int64_t window_used_ = 0;  // bytes of a table on disk that this run may have made resident
};

}  // namespace moecast
