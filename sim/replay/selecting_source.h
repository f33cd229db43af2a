// SelectingSource: expert loads of a step whose experts are chosen in the step, on the tokens that
// it really has: batch-level rules, EacPrefill, and policies that choose a rule by load. Tokens a
// rule does not act on count as in ReplaySource.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"
#include "sim/replay/expert_counter.h"
#include "sim/replay/routed_span.h"
#include "sim/replay/routing_rules.h"
#include "sim/replay/selection_gauge.h"

namespace moecast {

class SelectingSource {
 public:
  /// REQUIRES: as ReplaySource; at least one rule, one fewer bounds than rules, all rows of one
  /// trace.
  SelectingSource(RoutingRules rules, const LoadShape& shape, Seed seed);

  [[nodiscard]] SequenceId Bind(RequestId request) const;
  /// As ReplaySource::Count. `load` chooses the rule and says what kind of step it is. Padding rows
  /// go through the rule as copies of the step's first row.
  /// COST: ReplaySource's, and under a batch-level rule a few additions per token, layer and
  /// rank. docs/performance/replay.md.
  void Count(std::span<const RoutedSpan> spans, int64_t padding_rows, std::span<ExpertLoad> loads,
             const StepLoad& load);
  /// Totals are added up when a step is counted: only then is it known what it computed.
  void AddToTotals(const RoutedSpan& /*span*/) {}
  /// The rule of the step counted last.
  [[nodiscard]] SelectionKind selection() const { return selection_; }

  /// Proxies come from every SelectionGauge::kEvery-th token that a rule acts on.
  [[nodiscard]] RoutingNotes notes() const {
    RoutingNotes notes = notes_;
    notes.proxies = gauge_.proxies();
    return notes;
  }
  [[nodiscard]] std::span<const uint64_t> totals() const { return totals_; }

 private:
  void AddNative(const ReplayTable& table, const RoutedSpan& span);
  void AddFiltered(const EacPrefill& rule, const ReplayTable& table, const RoutedSpan& span);
  void GaugeFiltered(const ReplayTable& table, const RoutedSpan& span);
  void GatherRanked(const RuleRows& rows, const RoutedSpan& span);
  void AddBatch(const RuleRows& rows, const BatchRule& rule);
  void AddRedirected(const RankedShape& shape, const Sere& rule);
  void AddSpan(const RuleRows& rows, const RoutedSpan& span, bool acts);
  void AddStepToTotals();
  void MoveWindow(const RuleRows& rows, int64_t tokens);

  RoutingRules rules_;
  LoadShape shape_;
  Seed seed_;
  SelectionKind selection_ = SelectionKind::kNative;
  RoutingNotes notes_;
  SelectionGauge gauge_;
  std::vector<uint64_t> totals_;  // [moe_layer][expert]
  // Reused from step to step.
  ExpertCounter counter_;
  ExpertCounter span_counter_;
  std::vector<uint32_t> filtered_;
  std::vector<RankedRow> batch_;
  std::vector<Line> chosen_lines_;  // bit rows of batch_
  std::vector<uint64_t*> chosen_;
  BatchScratch scratch_;
  int64_t window_used_ = 0;
};

}  // namespace moecast
