// RankedTable: a routing trace as ranked rows, for rules that look at a whole step: every token's
// experts best first at every MoE layer, and what a rule adds up over tokens. Immutable once built;
// shared by threads. Sequences are numbered as in the ReplayTable of the same trace.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "sim/base/result.h"
#include "sim/policy/experts/batch_rule.h"
#include "sim/replay/row_store.h"
#include "traces/routing_chunk.h"

namespace moecast {

class RankedTable {
 public:
  class Builder;
  [[nodiscard]] const RankedShape& shape() const { return shape_; }
  [[nodiscard]] int64_t row_count(SequenceId sequence, RoutingPhase phase) const {
    return part(sequence, phase).count;
  }
  /// All but `native`, which is the row of a ReplayTable. REQUIRES: 0 <= row < row_count.
  [[nodiscard]] RankedRow row(SequenceId sequence, RoutingPhase phase, int64_t row) const;

  [[nodiscard]] bool on_disk() const { return store_.on_disk(); }
  /// As ReplayTable's: what its user may read before ReleaseMemory when rows lie on disk.
  [[nodiscard]] int64_t window_bytes() const { return on_disk() ? window_bytes_ : 0; }
  [[nodiscard]] int64_t row_bytes() const {
    return store_.lines_per_row() * static_cast<int64_t>(sizeof(Line));
  }
  void ReleaseMemory() const { store_.ReleaseMemory(); }

 private:
  struct Part {
    int64_t first = 0;
    int64_t count = 0;
  };
  /// Where the parts of a token lie in its row of the store, in bytes; weights and scores may be
  /// absent, or one part.
  struct Parts {
    int64_t weights = 0;
    int64_t scores = 0;
    int64_t best = 0;
    int64_t ranked = 0;
    int64_t order = 0;
    int64_t end = 0;
  };
  static Parts PartsOf(const RankedShape& shape, const BatchRule& rule, bool has_scores);
  RankedTable(const RankedShape& shape, const Parts& parts, int64_t resident_bytes);
  [[nodiscard]] const Part& part(SequenceId sequence, RoutingPhase phase) const {
    return sequences_[sequence.value()][static_cast<size_t>(phase)];
  }

  RankedShape shape_;
  Parts parts_;
  RowStore store_;
  std::vector<std::array<Part, 2>> sequences_;  // by phase
  int64_t window_bytes_;
};

/// Adds chunks in trace order, then Finish.
class RankedTable::Builder {
 public:
  /// REQUIRES: the header has the scores and ranks that the rule wants.
  Builder(const RoutingHeader& header, BatchRule rule, int64_t resident_bytes);
  /// ERRORS: memory and temporary disk are exhausted. REQUIRES: as ReplayTable::Builder::Add, which
  /// also reports chunks that are not adjacent.
  Status Add(const RoutingChunk& chunk);
  RankedTable Finish() && { return std::move(table_); }

 private:
  void FillRow(const RoutingChunk& chunk, int64_t token, char* row) const;
  void FillIds(const RoutingChunk& chunk, int64_t cell, uint16_t* ids) const;
  void FillScores(const RoutingChunk& chunk, int64_t token, char* row) const;

  RankedTable table_;
  BatchRule rule_;
  std::map<SequenceId, SequenceId> numbers_;
};

}  // namespace moecast
