#include "sim/replay/span_rows.h"

namespace moecast {

SourceRows SourceOf(const ReplayTable& table, const RoutedSpan& span) {
  const int64_t rows = table.row_count(span.sequence, span.phase);
  if (rows > 0) return {span.phase, rows};
  const RoutingPhase other =
      span.phase == RoutingPhase::kPrefill ? RoutingPhase::kDecode : RoutingPhase::kPrefill;
  return {other, table.row_count(span.sequence, other)};
}

void AppendRows(const ReplayTable& table, const RoutedSpan& span, std::vector<const Line*>& rows) {
  const SourceRows source = SourceOf(table, span);
  int64_t row = span.first_row % source.rows;
  for (int64_t left = span.rows; left > 0; --left) {
    rows.push_back(table.row(span.sequence, source.phase, row));
    row = row + 1 == source.rows ? 0 : row + 1;
  }
}

}  // namespace moecast
