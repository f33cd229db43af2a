// RoutingSource: the exact expert histogram of every step. Replays bound trace sequences, or gives
// the closed form of independent uniform routing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "sim/base/ids.h"
#include "sim/base/rng.h"
#include "sim/model/step_shape.h"
#include "sim/replay/replay_table.h"

namespace moecast {

/// Consecutive tokens of one bound request in one phase. `first_row` counts the request's own prompt
/// (or output) tokens from 0; rows past the sequence's end wrap around and are counted as such.
struct RoutedSpan {
  SequenceId sequence;
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t first_row = 0;
  int64_t rows = 0;
};

/// How expert ids map to expert-parallel ranks and how the grouped GEMM pads.
struct LoadShape {
  int64_t expert_ranks = 1;  // contiguous, equal blocks of experts
  int64_t tile_rows = 1;     // P pads each expert's rows to a multiple of this; a power of two
};

/// Counts of what was replayed, for the report.
struct RoutingNotes {
  uint64_t prefill_rows = 0;          // token rows counted, all MoE layers at once
  uint64_t decode_rows = 0;
  uint64_t wrapped_rows = 0;          // past the end of the bound sequence
  uint64_t substituted_rows = 0;      // phase absent from the trace: the other phase's rows stood in
  uint64_t unknown_rows = 0;          // not recorded in the trace: routed to no expert
  uint64_t padding_rows = 0;          // graph padding that was routed
};

class ReplaySource {
 public:
  ReplaySource(std::shared_ptr<const ReplayTable> table, LoadShape shape, Seed seed);

  /// The trace sequence this request replays: uniform over sequences, from the request's own stream,
  /// so every policy binds the same (INV-8).
  [[nodiscard]] SequenceId Bind(RequestId request) const;
  /// Writes loads[moe_layer * expert_ranks + rank] for one step (INV-7: assignments in = counted).
  /// `padding_rows` copies of the step's first row are added (routed graph padding).
  /// COST: decode rows about 1e-10 s per assignment; prefill spans cost O(experts * layers) each.
  void Count(std::span<const RoutedSpan> spans, int64_t padding_rows, std::span<ExpertLoad> loads);
  /// Adds the experts that `span` used to the run's totals (call once per executed span).
  void AddToTotals(const RoutedSpan& span);

  [[nodiscard]] const RoutingNotes& notes() const { return notes_; }
  /// [moe_layer][expert] assignments so far, from AddToTotals.
  [[nodiscard]] std::span<const uint64_t> totals() const { return totals_; }

 private:
  std::shared_ptr<const ReplayTable> table_;
  LoadShape shape_;
  Seed seed_;
  RoutingNotes notes_;
  std::vector<uint64_t> totals_;
  std::vector<const uint64_t*> rows_;      // reused per step
  std::vector<uint64_t> planes_;           // reused per step
};

/// Expected loads of independent uniform routing: D = E(1-(1-k/E)^B), m from a normal approximation.
/// docs/model.md, "Uniform routing".
class UniformSource {
 public:
  UniformSource(int64_t moe_layers, int64_t experts, std::vector<int64_t> k_per_layer, LoadShape shape);
  [[nodiscard]] SequenceId Bind(RequestId) const { return SequenceId{}; }
  void Count(std::span<const RoutedSpan> spans, int64_t padding_rows, std::span<ExpertLoad> loads);
  void AddToTotals(const RoutedSpan&) {}
  [[nodiscard]] const RoutingNotes& notes() const { return notes_; }
  [[nodiscard]] std::span<const uint64_t> totals() const { return {}; }

 private:
  int64_t experts_;
  std::vector<int64_t> k_per_layer_;
  LoadShape shape_;
  RoutingNotes notes_;
};

/// A dense model: no expert layers, nothing to count.
struct NoRouting {
  [[nodiscard]] SequenceId Bind(RequestId) const { return SequenceId{}; }
  void Count(std::span<const RoutedSpan>, int64_t, std::span<ExpertLoad>) {}
  void AddToTotals(const RoutedSpan&) {}
  [[nodiscard]] RoutingNotes notes() const { return {}; }
  [[nodiscard]] std::span<const uint64_t> totals() const { return {}; }
};

using RoutingSource = std::variant<NoRouting, ReplaySource, UniformSource>;

}  // namespace moecast
