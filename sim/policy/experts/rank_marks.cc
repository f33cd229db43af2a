#include <algorithm>
#include <utility>

#include "sim/policy/experts/ranked_batch.h"

namespace moecast {

void FillMarks(const RankedShape& shape, const uint16_t* ids, int64_t best_ranks,
               const RankMarks& marks) {
  constexpr uint8_t kNoRank = 0x7f;  // behind every rank, signed or not
  constexpr int64_t kWordBits = 64;
  const auto set = [](std::span<uint64_t> row, int64_t bit) {
    row[static_cast<size_t>(bit / kWordBits)] |= uint64_t{1} << (bit % kWordBits);
  };
  std::ranges::fill(marks.order, kNoRank);
  std::vector<std::pair<uint16_t, uint8_t>> by_id;
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    by_id.clear();
    for (int64_t rank = 0; rank < shape.ranks; ++rank) {
      if (ids[rank] >= shape.experts) continue;
      by_id.emplace_back(ids[rank], static_cast<uint8_t>(rank));
      set(marks.ranked, layer * shape.expert_stride() + ids[rank]);
      if (rank < best_ranks) set(marks.best, layer * shape.expert_stride() + ids[rank]);
    }
    std::ranges::sort(by_id);
    auto order = marks.order.begin() + layer * shape.rank_stride();
    for (const auto& [id, rank] : by_id) *order++ = rank;
    ids += shape.rank_stride();
  }
}

}  // namespace moecast
