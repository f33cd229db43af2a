#include "sim/policy/experts/sere.h"

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
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    uint32_t* const of_layer = counts.data() + layer * shape.expert_stride();
    for (int64_t expert = 0; expert < shape.experts; ++expert) {
      if (of_layer[expert] == 0) continue;
      const int64_t target = Target(layer, expert, scratch);  // a member, which stays where it is
      if (target == expert) continue;
      of_layer[target] += of_layer[expert];
      of_layer[expert] = 0;
    }
  }
}

}  // namespace moecast
