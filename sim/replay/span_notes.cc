#include "sim/replay/span_notes.h"

#include <algorithm>

#include "sim/replay/span_rows.h"

namespace moecast {

SequenceId BoundSequence(const ReplayTable& table, Seed seed, RequestId request) {
  RngStream rng(seed, "routing/bind", request.value());
  const auto sequences = static_cast<uint64_t>(table.sequence_count());
  return SequenceId(static_cast<uint32_t>(rng.NextBelow(sequences)));
}

void NoteSpan(const ReplayTable& table, const RoutedSpan& span, RoutingNotes& notes) {
  const SourceRows source = SourceOf(table, span);
  const auto rows = static_cast<uint64_t>(span.rows);
  (span.phase == RoutingPhase::kPrefill ? notes.prefill_rows : notes.decode_rows) += rows;
  if (source.phase != span.phase) notes.substituted_rows += rows;
  const int64_t end = span.first_row + span.rows;
  if (end > source.rows) {
    notes.wrapped_rows += static_cast<uint64_t>(end - std::max(span.first_row, source.rows));
  }
  if (!table.has_unknown_rows()) return;
  int64_t first = span.first_row % source.rows;
  for (int64_t left = span.rows; left > 0; first = 0) {
    const int64_t count = std::min(left, source.rows - first);
    const int64_t unknown = table.UnknownRows(span.sequence, source.phase, {first, count});
    notes.unknown_rows += static_cast<uint64_t>(unknown);
    left -= count;
  }
}

}  // namespace moecast
