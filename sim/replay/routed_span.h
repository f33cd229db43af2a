// RoutedSpan and RoutingNotes: what a step asks of a RoutingSource, and what the source reports.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/ids.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// Consecutive tokens of one bound request in one phase. `first_row` counts the request's own
/// prompt (or output) tokens from 0; rows past the sequence's end wrap around and are counted as
/// such.
struct RoutedSpan {
  SequenceId sequence;
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t first_row = 0;
  int64_t rows = 0;
};

/// Counts of what was replayed, for the report. A row is one token at all MoE layers.
struct RoutingNotes {
  uint64_t prefill_rows = 0;
  uint64_t decode_rows = 0;
  uint64_t wrapped_rows = 0;      // past the end of the bound sequence
  uint64_t substituted_rows = 0;  // phase absent from the sequence: the other phase's rows stood in
  uint64_t unknown_rows = 0;      // at some MoE layer not recorded: routed to no expert there
  uint64_t padding_rows = 0;      // graph padding that was routed
  // Of policies that decide in the step; else 0 and empty.
  uint64_t selected_cells = 0;    // (token, MoE layer) pairs of all steps, padding included
  uint64_t selected_experts = 0;  // experts that they were computed on
  std::vector<uint64_t> steps_by_rule = {};  // [rule]
  friend bool operator==(const RoutingNotes&, const RoutingNotes&) = default;
};

}  // namespace moecast
