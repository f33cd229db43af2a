#include "sim/replay/replay_source.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/replay/span_notes.h"
#include "sim/replay/span_rows.h"

namespace moecast {

ReplaySource::ReplaySource(std::shared_ptr<const ReplayTable> table, LoadShape shape, Seed seed,
                           const CounterKernels& kernels)
    : table_(std::move(table)),
      shape_(shape),
      seed_(seed),
      totals_(static_cast<size_t>(table_->layout().moe_layers * table_->layout().experts)),
      counter_(table_->layout(), kernels) {
  SIM_CHECK(shape.expert_ranks >= 1 && table_->layout().experts % shape.expert_ranks == 0);
}

SequenceId ReplaySource::Bind(RequestId request) const {
  return BoundSequence(*table_, seed_, request);
}

void ReplaySource::AddSpan(const RoutedSpan& span) {
  const SourceRows source = SourceOf(*table_, span);
  int64_t first = span.first_row < source.rows ? span.first_row : span.first_row % source.rows;
  if (span.rows == 1) {
    counter_.AddRow(table_->row(span.sequence, source.phase, first));
    return;
  }
  for (int64_t left = span.rows; left > 0; first = 0) {
    const int64_t count = std::min(left, source.rows - first);
    table_->Count(span.sequence, source.phase, {first, count}, counter_);
    left -= count;
  }
}

/// Keeps the resident part of a table on disk within its window. A row brings the pages around it
/// along, which are the sequence's next rows; a long span also reads running counts.
void ReplaySource::MoveWindow(const RoutedSpan& span) {
  constexpr int64_t kPagesAround = int64_t{64} << 10;
  const int64_t row_bytes = table_->layout().lines() * static_cast<int64_t>(sizeof(Line));
  const int64_t rows = std::min(span.rows, ReplayTable::kCheckpointRows);
  const int64_t counts = span.rows > 1 ? 2 * kBitsPerLane * row_bytes : 0;
  window_used_ += kPagesAround + rows * row_bytes + counts;
  if (window_used_ < table_->window_bytes()) return;
  table_->ReleaseMemory();
  window_used_ = 0;
}

void ReplaySource::Count(std::span<const RoutedSpan> spans, int64_t padding_rows,
                         std::span<ExpertLoad> loads, const StepLoad& /*load*/) {
  counter_.Clear();
  for (const RoutedSpan& span : spans) {
    AddSpan(span);
    NoteSpan(*table_, span, notes_);
  }
  const auto first =
      std::ranges::find_if(spans, [](const RoutedSpan& span) { return span.rows > 0; });
  if (first != spans.end() && padding_rows > 0) {
    RoutedSpan copy = *first;
    copy.rows = 1;
    for (int64_t i = 0; i < padding_rows; ++i) AddSpan(copy);
    notes_.padding_rows += static_cast<uint64_t>(padding_rows);
  }
  counter_.Loads(shape_, loads);
  if (table_->window_bytes() == 0) return;
  for (const RoutedSpan& span : spans) MoveWindow(span);
}

void ReplaySource::AddToTotals(const RoutedSpan& span) {
  counter_.Clear();
  AddSpan(span);
  const std::span<const uint32_t> counts = counter_.Counts();
  const auto [layers, experts] = table_->layout();
  const auto stride = static_cast<size_t>(table_->layout().stride());
  uint64_t* total = totals_.data();
  for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
    const uint32_t* const count = counts.data() + layer * stride;
    for (int64_t expert = 0; expert < experts; ++expert) *total++ += count[expert];
  }
  if (table_->window_bytes() > 0) MoveWindow(span);
}

}  // namespace moecast
