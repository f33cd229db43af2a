#include "sim/policy/experts/sere.h"

#include <bit>
#include <utility>

#include "sim/base/check.h"
#include "sim/policy/experts/expert_set.h"

namespace moecast {

void Sere::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  SIM_CHECK(similarity->moe_layers() == batch.shape.moe_layers);
  SIM_CHECK(similarity->experts() == batch.shape.experts);
  StartSets(batch, scratch);
}

int64_t Sere::Target(int64_t moe_layer, int64_t expert, const BatchScratch& scratch) const {
  const auto words = static_cast<int64_t>(scratch.sets.size()) / similarity->moe_layers();
  const uint64_t* const set = scratch.sets.data() + moe_layer * words;
  if (IsMember(set, expert)) return expert;
  for (const uint16_t to : similarity->Replacements(moe_layer, expert)) {
    if (IsMember(set, to)) return to;
  }
  return expert;
}

void Sere::Redirect(const RankedShape& shape, const BatchScratch& scratch,
                    std::span<uint32_t> counts) const {
  constexpr int64_t kWordBits = 64;
  const int64_t words = SetWords(shape);
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    uint32_t* const of_layer = counts.data() + layer * shape.expert_stride();
    const uint64_t* const set = scratch.sets.data() + layer * words;
    for (int64_t first = 0; first < shape.experts; first += kWordBits) {
      uint64_t outsiders = ~set[first / kWordBits];
      if (shape.experts - first < kWordBits) {
        outsiders &= (uint64_t{1} << (shape.experts - first)) - 1;
      }
      for (; outsiders != 0; outsiders &= outsiders - 1) {
        const int64_t expert = first + std::countr_zero(outsiders);
        if (of_layer[expert] == 0) continue;
        const int64_t target = Target(layer, expert, scratch);  // a member: it stays, or itself
        of_layer[target] += std::exchange(of_layer[expert], 0);
      }
    }
  }
}

}  // namespace moecast
