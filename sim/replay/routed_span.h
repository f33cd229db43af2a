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

/// Sums over the (token, MoE layer) pairs that were looked at under policies that decide in the
/// step. Scores are in units of ScoreWeight.
struct SelectionProxies {
  double cells = 0;
  double changed_cells = 0;      // whose experts are not the native top-k
  double missing_experts = 0;    // native ones that were not computed
  double cells_with_scores = 0;  // in the two below
  double native_mass = 0;        // scores of native experts
  double kept_mass = 0;          // of computed ones
  void Add(const SelectionProxies& more) {
    cells += more.cells;
    changed_cells += more.changed_cells;
    missing_experts += more.missing_experts;
    cells_with_scores += more.cells_with_scores;
    native_mass += more.native_mass;
    kept_mass += more.kept_mass;
  }
  friend bool operator==(const SelectionProxies&, const SelectionProxies&) = default;
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
  SelectionProxies proxies = {};
  std::vector<uint64_t> steps_by_rule = {};  // [rule]
  friend bool operator==(const RoutingNotes&, const RoutingNotes&) = default;
};

}  // namespace moecast
