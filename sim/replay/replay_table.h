// ReplayTable: a routing trace as bitmaps, ready to be counted. One bit per (token, MoE layer,
// expert), after expert selection; plus running counts at checkpoints, so that a prefill span of any
// length is counted by two subtractions. Immutable once built; shared by threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/result.h"
#include "sim/policy/expert_selection.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// What selection did to the trace, over all known rows: the quality proxies of the report.
struct SelectionNotes {
  double mean_kept = 0;           // experts per token and layer
  double native_top_k = 0;
  double kept_gate_mass = 0;      // sum of kept scores / sum of native top-k scores; NaN without scores
};

class ReplayTable {
 public:
  /// Rows of one sequence in one phase.
  struct Rows {
    int64_t first = 0;  // index into the table's rows
    int64_t count = 0;
  };

  /// Adds chunks in trace order, then Finish.
  class Builder {
   public:
    Builder(const RoutingHeader& header, ExpertSelection selection);
    /// ERRORS: the table would exceed `kMaxBytes` (says how large the trace is and what to do).
    Status Add(const RoutingChunk& chunk);
    Result<ReplayTable> Finish() &&;
   private:
    friend class ReplayTable;
    RoutingHeader header_;
    ExpertSelection selection_;
    std::vector<uint64_t> bits_;
  };

  [[nodiscard]] const RoutingHeader& header() const { return header_; }
  [[nodiscard]] int64_t sequence_count() const;
  [[nodiscard]] const SelectionNotes& selection() const { return selection_; }

 private:
  RoutingHeader header_;
  SelectionNotes selection_;
};

}  // namespace moecast
