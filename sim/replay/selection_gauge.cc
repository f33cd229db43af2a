#include "sim/replay/selection_gauge.h"

#include <cmath>

namespace moecast {
namespace {

bool IsSet(const uint64_t* row, int64_t bit) {
  constexpr int64_t kWordBits = 64;
  return (row[bit / kWordBits] >> (bit % kWordBits) & 1) != 0;
}

}  // namespace

void SelectionGauge::Add(const Cell& cell) {
  proxies_.cells += 1;
  proxies_.changed_cells += cell.changed ? 1 : 0;
  proxies_.missing_experts += static_cast<double>(cell.missing);
}

void SelectionGauge::AddChosen(const RankedShape& shape, const RankedRow& row,
                               const uint64_t* chosen) {
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const int64_t first = layer * shape.rank_stride();
    if (row.ids[first] >= shape.experts) continue;  // not recorded
    Cell cell;
    for (int64_t rank = 0; rank < shape.ranks; ++rank) {
      const int64_t expert = row.ids[first + rank];
      const bool native = rank < shape.top_k;
      const bool computed =
          expert < shape.experts && IsSet(chosen, layer * shape.expert_stride() + expert);
      cell.missing += native && !computed ? 1 : 0;
      cell.changed = cell.changed || native != computed;
      if (row.scores == nullptr) continue;
      const double score = row.scores[first + rank];
      proxies_.native_mass += native ? score : 0;
      proxies_.kept_mass += computed ? score : 0;
    }
    proxies_.cells_with_scores += row.scores != nullptr ? 1 : 0;
    Add(cell);
  }
}

void SelectionGauge::AddRedirected(const RankedShape& shape, const RankedRow& row, const Sere& rule,
                                   const BatchScratch& scratch) {
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const int64_t first = layer * shape.rank_stride();
    if (row.ids[first] >= shape.experts) continue;
    Cell cell;
    for (int64_t rank = 0; rank < shape.top_k; ++rank) {
      const int64_t expert = row.ids[first + rank];
      const bool stays = rule.Target(layer, expert, scratch) == expert;
      cell.missing += stays ? 0 : 1;
      if (row.scores == nullptr) continue;
      proxies_.native_mass += row.scores[first + rank];
      proxies_.kept_mass += stays ? row.scores[first + rank] : 0;
    }
    cell.changed = cell.missing > 0;
    proxies_.cells_with_scores += row.scores != nullptr ? 1 : 0;
    Add(cell);
  }
}

void SelectionGauge::AddFiltered(const RowLayout& layout, const Line* native,
                                 std::span<const uint32_t> counts) {
  for (int64_t layer = 0; layer < layout.moe_layers; ++layer) {
    int64_t experts = 0;
    Cell cell;
    for (int64_t expert = 0; expert < layout.experts; ++expert) {
      const int64_t bit = layer * layout.stride() + expert;
      if (!IsSet(native->words, bit)) continue;
      ++experts;
      cell.missing += counts[static_cast<size_t>(bit)] == 0 ? 1 : 0;
    }
    if (experts == 0) continue;  // not recorded
    cell.changed = cell.missing > 0;
    Add(cell);
  }
}

void SelectionGauge::AddTokenRule(const ReplayTable& table, int64_t tokens) {
  const SelectionNotes& notes = table.selection();
  const auto cells =
      static_cast<double>(tokens * table.layout().moe_layers) / static_cast<double>(kEvery);
  proxies_.cells += cells;
  proxies_.changed_cells += cells * notes.changed_share;
  proxies_.missing_experts += cells * notes.changed_experts;
  if (std::isnan(notes.kept_gate_mass)) return;
  proxies_.cells_with_scores += cells;
  proxies_.native_mass += cells * notes.native_mass;
  proxies_.kept_mass += cells * notes.native_mass * notes.kept_gate_mass;
}

}  // namespace moecast
