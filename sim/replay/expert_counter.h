// ExpertCounter: collects the bit rows and the ready-made counts of one step and turns them into
// the loads of every (MoE layer, expert rank). Exact; buffers are reused from step to step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/model/step_shape.h"
#include "sim/replay/row_store.h"
#include "sim/replay/vertical_counter.h"

namespace moecast {

/// How expert ids map to expert-parallel ranks and how the grouped GEMM pads.
struct LoadShape {
  int64_t expert_ranks = 1;  // contiguous, equal blocks of experts
  int64_t tile_rows = 1;     // P pads each expert's rows to a multiple of this; a power of two
  std::vector<int64_t> mixed_experts = {};  // stored in the mix's format; counted apart as well
  friend bool operator==(const LoadShape&, const LoadShape&) = default;
};

class ExpertCounter {
 public:
  ExpertCounter(const RowLayout& layout, const CounterKernels& kernels);

  /// Forgets everything added. COST: O(1) unless counts were added.
  void Clear();
  /// Adds one token. REQUIRES: `row` outlives the counter's use.
  void AddRow(const Line* row) {
    if (rows_.size() == static_cast<size_t>(kMaxCountedRows)) Spill();
    rows_.push_back(row);
  }
  /// Adds (later - earlier) mod 2^16 tokens at every position. REQUIRES: sizes are positions().
  void AddDifference(std::span<const uint16_t> later, std::span<const uint16_t> earlier);

  /// Adds tokens [moe_layer * stride + expert].
  void AddCounts(std::span<const uint32_t> counts);

  /// Writes loads[moe_layer * expert_ranks + rank].
  /// REQUIRES: expert_ranks divides the experts; loads has that size. Clear before adding more.
  void Loads(const LoadShape& shape, std::span<ExpertLoad> loads);
  /// [moe_layer * stride + expert] tokens so far. Valid until the next call.
  std::span<const uint32_t> Counts();

 private:
  Planes CountRows();
  void Spill();
  void LoadsFromRows(const LoadShape& shape, int64_t group, std::span<ExpertLoad> loads);
  void LoadsFromCounts(const LoadShape& shape, std::span<ExpertLoad> loads);
  /// REQUIRES: every row is in counts_.
  void CountMixed(const LoadShape& shape, std::span<ExpertLoad> loads) const;

  RowLayout layout_;
  const CounterKernels* kernels_;
  std::vector<const Line*> rows_;  // not yet in counts_
  bool counts_used_ = false;
  std::vector<uint32_t> counts_;
  std::vector<Line> planes_;
  std::vector<uint16_t> group_loads_;
  std::vector<Line> zero_row_;
};

}  // namespace moecast
