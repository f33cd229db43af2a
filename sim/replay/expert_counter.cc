#include "sim/replay/expert_counter.h"

#include <algorithm>
#include <bit>

#include "sim/base/check.h"

namespace moecast {
namespace {

constexpr int64_t kFigures = 4;  // of a group: see GroupLoads
constexpr int64_t kMostPasses = 2;

/// Positions per group of the bit-sliced figures, or 0 when a rank's block is cut differently.
int64_t GroupSize(int64_t block) {
  if (block % kBitsPerLane == 0) return kBitsPerLane;
  return block % (kBitsPerLane / 2) == 0 ? kBitsPerLane / 2 : 0;
}

/// The figures of `count` groups that lie next to each other, the first being `group`.
CountLoads SumOfGroups(const GroupLoads& groups, int64_t lanes, int64_t group, int64_t count) {
  CountLoads sum{};
  for (const int64_t end = group + count; group < end; ++group) {
    const int64_t at = (group & (groups.passes - 1)) * lanes + (group >> (groups.passes - 1));
    sum.assignments += groups.assignments[at];
    sum.distinct += groups.distinct[at];
    sum.tiles += groups.tiles[at];
    sum.maximum = std::max<uint32_t>(sum.maximum, groups.maximum[at]);
  }
  return sum;
}

ExpertLoad ToLoad(const CountLoads& figures, double tile_rows) {
  const auto as_double = [](uint32_t figure) { return static_cast<double>(figure); };
  return {.assignments = as_double(figures.assignments),
          .distinct = as_double(figures.distinct),
          .padded_rows = as_double(figures.tiles) * tile_rows,
          .max_expert = as_double(figures.maximum)};
}

int Log2(int64_t power_of_two) { return std::countr_zero(static_cast<uint64_t>(power_of_two)); }

}  // namespace

ExpertCounter::ExpertCounter(const RowLayout& layout, const CounterKernels& kernels)
    : layout_(layout),
      kernels_(&kernels),
      counts_(static_cast<size_t>(layout.positions())),
      planes_(static_cast<size_t>(layout.lines() * kMaxPlanes)),
      group_loads_(static_cast<size_t>(layout.lines() * kLanesPerLine * kFigures * kMostPasses)),
      zero_row_(static_cast<size_t>(layout.lines())) {
  rows_.reserve(static_cast<size_t>(kMaxCountedRows + kBlockRows));
}

void ExpertCounter::Clear() {
  rows_.clear();
  if (counts_used_) std::ranges::fill(counts_, 0U);
  counts_used_ = false;
}

void ExpertCounter::AddDifference(std::span<const uint16_t> later,
                                  std::span<const uint16_t> earlier) {
  SIM_CHECK(later.size() == counts_.size() && earlier.size() == counts_.size());
  kernels_->add_difference(later.data(), earlier.data(), layout_.positions(), counts_.data());
  counts_used_ = true;
}

void ExpertCounter::AddCounts(std::span<const uint32_t> counts) {
  SIM_CHECK(counts.size() <= counts_.size());
  for (size_t i = 0; i < counts.size(); ++i) counts_[i] += counts[i];
  counts_used_ = true;
}

Planes ExpertCounter::CountRows() {
  const auto width = static_cast<int>(std::bit_width(rows_.size()));
  const Planes planes{planes_.data(), layout_.lines(), std::max(kMinPlanes, width)};
  while (rows_.size() % static_cast<size_t>(kBlockRows) != 0) rows_.push_back(zero_row_.data());
  kernels_->count_rows({rows_.data(), std::ssize(rows_), layout_.lines()}, planes);
  rows_.clear();
  return planes;
}

void ExpertCounter::Spill() {
  if (rows_.empty()) return;
  kernels_->add_planes(CountRows(), counts_.data());
  counts_used_ = true;
}

std::span<const uint32_t> ExpertCounter::Counts() {
  Spill();
  return counts_;
}

void ExpertCounter::Loads(const LoadShape& shape, std::span<ExpertLoad> loads) {
  SIM_CHECK(layout_.experts % shape.expert_ranks == 0);
  SIM_CHECK(std::has_single_bit(static_cast<uint64_t>(shape.tile_rows)));
  SIM_CHECK(std::ssize(loads) == layout_.moe_layers * shape.expert_ranks);
  // The positions that round a layer up are never set, so a lone rank may own them too.
  const int64_t block =
      shape.expert_ranks == 1 ? layout_.stride() : layout_.experts / shape.expert_ranks;
  const int64_t group = GroupSize(block);
  if (counts_used_ || group == 0 || !shape.mixed_experts.empty()) {
    LoadsFromCounts(shape, loads);
  } else {
    LoadsFromRows(shape, group, loads);
  }
}

void ExpertCounter::LoadsFromRows(const LoadShape& shape, int64_t group,
                                  std::span<ExpertLoad> loads) {
  const Planes planes = CountRows();
  const auto passes = static_cast<int>(kBitsPerLane / group);
  const int64_t lanes = layout_.lines() * kLanesPerLine;
  const int64_t figures = lanes * passes;
  uint16_t* const out = group_loads_.data();
  const GroupLoads groups{out,    out + figures,        out + 2 * figures, out + 3 * figures,
                          passes, Log2(shape.tile_rows)};
  kernels_->group_loads(planes, groups);
  const int64_t layer_groups = layout_.stride() / group;
  const int64_t rank_groups =
      shape.expert_ranks == 1 ? layer_groups : layout_.experts / shape.expert_ranks / group;
  const auto tile_rows = static_cast<double>(shape.tile_rows);
  ExpertLoad* load = loads.data();
  for (int64_t layer = 0; layer < layout_.moe_layers; ++layer) {
    const int64_t first = layer * layer_groups;
    for (int64_t rank = 0; rank < shape.expert_ranks; ++rank) {
      *load++ =
          ToLoad(SumOfGroups(groups, lanes, first + rank * rank_groups, rank_groups), tile_rows);
    }
  }
}

void ExpertCounter::LoadsFromCounts(const LoadShape& shape, std::span<ExpertLoad> loads) {
  Spill();
  const int64_t block = layout_.experts / shape.expert_ranks;
  const int tile_log2 = Log2(shape.tile_rows);
  const auto tile_rows = static_cast<double>(shape.tile_rows);
  ExpertLoad* load = loads.data();
  for (int64_t layer = 0; layer < layout_.moe_layers; ++layer) {
    const uint32_t* counts = counts_.data() + layer * layout_.stride();
    for (int64_t rank = 0; rank < shape.expert_ranks; ++rank) {
      *load++ = ToLoad(kernels_->count_loads(counts + rank * block, block, tile_log2), tile_rows);
    }
  }
  CountMixed(shape, loads);
}

void ExpertCounter::CountMixed(const LoadShape& shape, std::span<ExpertLoad> loads) const {
  const int64_t block = layout_.experts / shape.expert_ranks;
  const int64_t tile = shape.tile_rows;
  for (int64_t layer = 0; layer < layout_.moe_layers; ++layer) {
    for (const int64_t expert : shape.mixed_experts) {
      const int64_t rows = counts_[static_cast<size_t>(layer * layout_.stride() + expert)];
      if (rows == 0) continue;
      ExpertLoad& load = loads[static_cast<size_t>(layer * shape.expert_ranks + expert / block)];
      load.mixed_distinct += 1;
      load.mixed_padded_rows += static_cast<double>((rows + tile - 1) / tile * tile);
    }
  }
}

}  // namespace moecast
