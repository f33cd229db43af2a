// SpanRows: which rows of a replay table stand for the tokens of a RoutedSpan.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/replay/replay_table.h"
#include "sim/replay/routed_span.h"

namespace moecast {

/// The phase whose rows stand for a span, and how many of them the bound sequence has.
struct SourceRows {
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t rows = 0;
};

/// The span's own phase, or the other one when the sequence has no rows of it.
SourceRows SourceOf(const ReplayTable& table, const RoutedSpan& span);

/// Appends the bit row of every token of the span, in order; past the sequence's end they begin
/// again. Rows live as long as the table.
void AppendRows(const ReplayTable& table, const RoutedSpan& span, std::vector<const Line*>& rows);

}  // namespace moecast
