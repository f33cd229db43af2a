// ReplayTable: a routing trace as bitmaps, ready to be counted. One bit per (token, MoE layer,
// expert), after expert selection; plus running counts at checkpoints, so that a span of any length
// is counted by a subtraction and the rows that stick out. Immutable once built; shared by threads.
// docs/model/replay.md, "Counting"; docs/adr/0040-bitmaps-and-vertical-counters.md.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "sim/base/result.h"
#include "sim/policy/expert_selection.h"
#include "sim/replay/expert_counter.h"
#include "sim/replay/row_store.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// What selection does to the tokens of a run: the quality proxies of the report. Of a token-level
/// rule, over all known rows of the trace; of a policy that decides in the step, over its tokens.
/// NaN: not known.
struct SelectionNotes {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double mean_kept = 0;  // experts per token and layer
  double native_top_k = 0;
  double kept_gate_mass = kUnknown;   // scores of computed experts / of the native top-k
  double changed_share = kUnknown;    // (token, layer) pairs whose experts are not the native ones
  double changed_experts = kUnknown;  // native experts not computed, mean per token and layer
  double native_mass = 0;             // scores of the native top-k, mean, in units of ScoreWeight
  double completed_share = 0;         // of top-k places that pruning left without a recorded expert
};

class ReplayTable {
 public:
  /// Rows and running counts beyond this lie in a temporary file and are paged as they are used.
  static constexpr int64_t kResidentBytes = int64_t{16} << 30;
  /// Rows between two running counts of one sequence and phase.
  static constexpr int64_t kCheckpointRows = 128;

  /// Adjacent rows of one sequence and phase: `count` rows from the `first` of that phase.
  struct Rows {
    int64_t first = 0;
    int64_t count = 0;
  };

  class Builder;

  [[nodiscard]] const RoutingHeader& header() const { return header_; }
  [[nodiscard]] const RowLayout& layout() const { return layout_; }
  /// Sequences, numbered from 0 in order of first appearance in the trace; each has at least one
  /// row.
  [[nodiscard]] int64_t sequence_count() const { return std::ssize(sequences_); }
  [[nodiscard]] int64_t row_count(SequenceId sequence, RoutingPhase phase) const {
    return part(sequence, phase).count;
  }
  /// The bits of one token. REQUIRES: 0 <= row < row_count.
  [[nodiscard]] const Line* row(SequenceId sequence, RoutingPhase phase, int64_t row) const {
    return store_.row(part(sequence, phase).first + row);
  }
  /// Adds every token of `rows` to `counter`. COST: O(kCheckpointRows) rows and O(positions).
  void Count(SequenceId sequence, RoutingPhase phase, Rows rows, ExpertCounter& counter) const;
  [[nodiscard]] bool has_unknown_rows() const { return !unknown_before_.empty(); }
  /// Tokens of `rows` with at least one MoE layer that was not recorded.
  [[nodiscard]] int64_t UnknownRows(SequenceId sequence, RoutingPhase phase, Rows rows) const;

  [[nodiscard]] const SelectionNotes& selection() const { return selection_; }

  /// What its user should keep in mind when the table is larger than memory: after reading so many
  /// bytes of it, ReleaseMemory. 0 when all of it is in memory.
  [[nodiscard]] int64_t window_bytes() const { return store_.on_disk() ? window_bytes_ : 0; }
  void ReleaseMemory() const {
    store_.ReleaseMemory();
    checkpoints_.ReleaseMemory();
  }

 private:
  /// One phase of one sequence.
  struct Part {
    int64_t first = 0;  // index into store_
    int64_t count = 0;
    int64_t checkpoint =
        0;  // running counts before row 0, kCheckpointRows, ...; then the next part's
  };
  using Sequence = std::array<Part, 2>;  // by phase

  ReplayTable(const RoutingHeader& header, int64_t resident_bytes);
  /// The running counts before a checkpoint: [position] tokens, mod 2^16.
  [[nodiscard]] std::span<const uint16_t> checkpoint(int64_t index) const {
    return {reinterpret_cast<const uint16_t*>(checkpoints_.row(index)),
            static_cast<size_t>(layout_.positions())};
  }
  [[nodiscard]] const Part& part(SequenceId sequence, RoutingPhase phase) const {
    return sequences_[sequence.value()][static_cast<size_t>(phase)];
  }
  void CountShort(const Part& part, Rows rows, ExpertCounter& counter) const;

  RoutingHeader header_;
  RowLayout layout_;
  RowStore store_;
  std::vector<Sequence> sequences_;
  RowStore checkpoints_;  // rows of positions() 16-bit counts
  std::vector<uint32_t>
      unknown_before_;  // [row index, and one past]; empty when all rows are known
  SelectionNotes selection_;
  int64_t window_bytes_;
};

/// Adds chunks in trace order, then Finish.
class ReplayTable::Builder {
 public:
  /// REQUIRES: a LayerSchedule has one entry per MoE layer of the header. At most about
  /// `resident_bytes` of the table stay in memory.
  Builder(const RoutingHeader& header, ExpertSelection selection,
          int64_t resident_bytes = kResidentBytes);
  /// ERRORS: memory and temporary disk are exhausted; the chunks of one sequence and phase are not
  /// adjacent. REQUIRES: ids and scores have the header's shape, ids are below
  /// `experts` and differ within a row.
  Status Add(const RoutingChunk& chunk);
  /// ERRORS: no rows were added.
  Result<ReplayTable> Finish() &&;

 private:
  Result<Part*> PartOf(const RoutingChunk& chunk);
  template <class Rule>
  bool AddRows(const Rule& rule, const RoutingChunk& chunk, Part& part);
  template <class Rule>
  void FillRow(const Rule& rule, const RoutingChunk& chunk, int64_t token, Line* row);
  void AddSelected(const RoutingChunk& chunk, size_t first, int64_t kept);
  bool AddCheckpoint();
  void NoteSelection();
  [[nodiscard]] Error TooLarge(const RoutingChunk& chunk) const;

  ReplayTable table_;
  ExpertSelection rule_;
  ExpertCounter running_;
  std::map<SequenceId, SequenceId> numbers_;  // trace's sequence to table's
  std::vector<int64_t> unknown_rows_;         // indices, ascending
  int64_t known_ = 0;                         // (token, layer) pairs
  int64_t kept_ = 0;
  int64_t changed_ = 0;  // pairs that lost an expert
  double native_mass_ = 0;
  double kept_mass_ = 0;
};

}  // namespace moecast
