#include "sim/policy/experts/sere.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/policy/experts/expert_set.h"

namespace moecast {

void Sere::Count(const RankedBatch& batch, BatchScratch& scratch) const {
  const RankedShape& shape = batch.shape;
  SIM_CHECK(similarity->moe_layers() == shape.moe_layers);
  SIM_CHECK(similarity->experts() == shape.experts);
  ClearSets(shape, scratch);
  AddBest(batch, std::min(primary, shape.top_k), scratch);
  // Replacement moves whole experts: the native counts move with them.
  std::vector<uint32_t>& native = scratch.utilities;
  const int64_t stride = MemberStride(shape);
  native.assign(static_cast<size_t>(shape.moe_layers * stride), 0);
  for (const uint16_t* ids : batch.ids) {
    uint32_t* counts = native.data();
    for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
      for (int64_t rank = 0; rank < shape.top_k; ++rank) ++counts[ids[rank]];
      counts += stride;
      ids += shape.rank_stride();
    }
  }
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const uint8_t* const members = scratch.members.data() + layer * stride;
    uint32_t* const counts = scratch.counts.data() + layer * shape.expert_stride();
    for (int64_t expert = 0; expert < shape.experts; ++expert) {
      const uint32_t tokens = native[static_cast<size_t>(layer * stride + expert)];
      if (tokens == 0) continue;
      int64_t target = expert;
      if (members[expert] == 0) {
        const auto to = similarity->Replacements(layer, expert);
        const auto found =
            std::ranges::find_if(to, [members](uint16_t e) { return members[e] != 0; });
        if (found != to.end()) target = *found;
      }
      counts[target] += tokens;
    }
  }
}

}  // namespace moecast
