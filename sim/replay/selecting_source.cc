#include "sim/replay/selecting_source.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/replay/span_notes.h"
#include "sim/replay/span_rows.h"

namespace moecast {

SelectingSource::SelectingSource(RoutingRules rules, const LoadShape& shape, Seed seed)
    : rules_(std::move(rules)),
      shape_(shape),
      seed_(seed),
      counter_(rules_.rules.front().table->layout(), BestCounterKernels()),
      span_counter_(rules_.rules.front().table->layout(), BestCounterKernels()) {
  SIM_CHECK(rules_.choose.below.size() + 1 == rules_.rules.size());
  const RowLayout& layout = rules_.rules.front().table->layout();
  SIM_CHECK(shape.expert_ranks >= 1 && layout.experts % shape.expert_ranks == 0);
  for (const RuleRows& rows : rules_.rules) {
    SIM_CHECK(rows.table != nullptr && rows.table->layout() == layout);
    SIM_CHECK((rows.ranked != nullptr) == std::holds_alternative<BatchRule>(rows.rule));
  }
  totals_.resize(static_cast<size_t>(layout.moe_layers * layout.experts));
  notes_.steps_by_rule.resize(rules_.rules.size());
}

SequenceId SelectingSource::Bind(RequestId request) const {
  return BoundSequence(*rules_.rules.front().table, seed_, request);
}

void SelectingSource::AddNative(const ReplayTable& table, const RoutedSpan& span) {
  const SourceRows source = SourceOf(table, span);
  int64_t first = span.first_row % source.rows;
  for (int64_t left = span.rows; left > 0; first = 0) {
    const int64_t count = std::min(left, source.rows - first);
    table.Count(span.sequence, source.phase, {first, count}, counter_);
    left -= count;
  }
}

void SelectingSource::AddFiltered(const EacPrefill& rule, const ReplayTable& table,
                                  const RoutedSpan& span) {
  const SourceRows source = SourceOf(table, span);
  span_counter_.Clear();
  int64_t first = span.first_row % source.rows;
  for (int64_t left = span.rows; left > 0; first = 0) {
    const int64_t count = std::min(left, source.rows - first);
    table.Count(span.sequence, source.phase, {first, count}, span_counter_);
    left -= count;
  }
  const std::span<const uint32_t> counts = span_counter_.Counts();
  filtered_.assign(counts.begin(), counts.end());
  const RowLayout& layout = table.layout();
  for (int64_t layer = 0; layer < layout.moe_layers; ++layer) {
    rule.Filter(span.rows, table.header().top_k,
                std::span(filtered_).subspan(static_cast<size_t>(layer * layout.stride()),
                                             static_cast<size_t>(layout.experts)));
  }
  counter_.AddCounts(filtered_);
  GaugeFiltered(table, span);
}

void SelectingSource::GaugeFiltered(const ReplayTable& table, const RoutedSpan& span) {
  const SourceRows source = SourceOf(table, span);
  int64_t at = span.first_row % source.rows;
  for (int64_t i = 0; i < span.rows; ++i) {
    if (gauge_.TakesNext()) {
      gauge_.AddFiltered(table.layout(), table.row(span.sequence, source.phase, at), filtered_);
    }
    if (++at == source.rows) at = 0;
  }
}

void SelectingSource::GatherRanked(const RuleRows& rows, const RoutedSpan& span) {
  const SourceRows source = SourceOf(*rows.table, span);
  int64_t at = span.first_row % source.rows;
  for (int64_t i = 0; i < span.rows; ++i) {
    batch_.push_back(rows.ranked->row(span.sequence, source.phase, at));
    batch_.back().native = rows.table->row(span.sequence, source.phase, at)->words;
    if (++at == source.rows) at = 0;
  }
}

void SelectingSource::AddBatch(const RuleRows& rows, const BatchRule& rule) {
  if (batch_.empty()) return;
  const RankedShape& shape = rows.ranked->shape();
  const auto lines = static_cast<size_t>(rows.table->layout().lines());
  chosen_lines_.resize(batch_.size() * lines + 1);  // and what may be written past the last row
  chosen_.clear();
  for (size_t i = 0; i < batch_.size(); ++i) {
    chosen_.push_back(chosen_lines_[i * lines].words);
  }
  rule.Choose({.shape = shape, .rows = batch_, .chosen = chosen_}, scratch_);
  if (const Sere* sere = rule.redirecting()) return AddRedirected(shape, *sere);
  for (size_t i = 0; i < batch_.size(); ++i) {
    counter_.AddRow(&chosen_lines_[i * lines]);
    if (gauge_.TakesNext()) gauge_.AddChosen(shape, batch_[i], chosen_[i]);
  }
}

void SelectingSource::AddRedirected(const RankedShape& shape, const Sere& rule) {
  span_counter_.Clear();
  for (const RankedRow& row : batch_) {
    span_counter_.AddRow(reinterpret_cast<const Line*>(row.native));
    if (gauge_.TakesNext()) gauge_.AddRedirected(shape, row, rule, scratch_);
  }
  const std::span<const uint32_t> counts = span_counter_.Counts();
  filtered_.assign(counts.begin(), counts.end());
  rule.Redirect(shape, scratch_, filtered_);
  counter_.AddCounts(filtered_);
}

void SelectingSource::AddSpan(const RuleRows& rows, const RoutedSpan& span, bool acts) {
  const bool prompt = span.phase == RoutingPhase::kPrefill;
  const auto* batch = std::get_if<BatchRule>(&rows.rule);
  const auto* eac = std::get_if<EacPrefill>(&rows.rule);
  if (batch != nullptr && acts && (!prompt || batch->ActsOnPrompts())) {
    GatherRanked(rows, span);
  } else if (eac != nullptr && prompt) {
    AddFiltered(*eac, *rows.table, span);
  } else {
    AddNative(*rows.table, span);
  }
}

void SelectingSource::Count(std::span<const RoutedSpan> spans, int64_t padding_rows,
                            std::span<ExpertLoad> loads, const StepLoad& load) {
  const size_t chosen = rules_.choose.Choose(load);
  const RuleRows& rows = rules_.rules[chosen];
  const auto* batch = std::get_if<BatchRule>(&rows.rule);
  const bool acts = batch == nullptr || batch->Acts(load);
  selection_ = acts ? KindOf(rows.rule) : SelectionKind::kNative;
  ++notes_.steps_by_rule[chosen];
  counter_.Clear();
  batch_.clear();
  int64_t tokens = 0;
  for (const RoutedSpan& span : spans) {
    AddSpan(rows, span, acts);
    NoteSpan(*rows.table, span, notes_);
    tokens += span.rows;
  }
  const auto first =
      std::ranges::find_if(spans, [](const RoutedSpan& span) { return span.rows > 0; });
  if (first != spans.end() && padding_rows > 0) {
    RoutedSpan copy = *first;
    copy.rows = 1;
    for (int64_t i = 0; i < padding_rows; ++i) AddSpan(rows, copy, acts);
    notes_.padding_rows += static_cast<uint64_t>(padding_rows);
    tokens += padding_rows;
  }
  if (batch != nullptr) AddBatch(rows, *batch);
  if (std::holds_alternative<ExpertSelection>(rows.rule)) gauge_.AddTokenRule(*rows.table, tokens);
  notes_.selected_cells += static_cast<uint64_t>(tokens * rows.table->layout().moe_layers);
  AddStepToTotals();
  counter_.Loads(shape_, loads);
  for (const ExpertLoad& of_rank : loads) {
    notes_.selected_experts += static_cast<uint64_t>(of_rank.assignments);
  }
  MoveWindow(rows, tokens);
}

void SelectingSource::AddStepToTotals() {
  const RowLayout& layout = rules_.rules.front().table->layout();
  const std::span<const uint32_t> counts = counter_.Counts();
  for (int64_t layer = 0; layer < layout.moe_layers; ++layer) {
    const uint32_t* const count = counts.data() + layer * layout.stride();
    uint64_t* const total = totals_.data() + layer * layout.experts;
    for (int64_t expert = 0; expert < layout.experts; ++expert) {
      total[expert] += count[expert];
    }
  }
}

/// A row brings the pages around it along, which are the sequence's next rows.
void SelectingSource::MoveWindow(const RuleRows& rows, int64_t tokens) {
  constexpr int64_t kPagesAround = int64_t{64} << 10;
  const int64_t window = rows.ranked != nullptr && rows.ranked->on_disk()
                             ? rows.ranked->window_bytes()
                             : rows.table->window_bytes();
  if (window == 0) return;
  const int64_t row_bytes = rows.ranked != nullptr
                                ? rows.ranked->row_bytes()
                                : rows.table->layout().lines() * static_cast<int64_t>(sizeof(Line));
  window_used_ += tokens * (kPagesAround + row_bytes);
  if (window_used_ < window) return;
  rows.table->ReleaseMemory();
  if (rows.ranked != nullptr) rows.ranked->ReleaseMemory();
  window_used_ = 0;
}

}  // namespace moecast
