#include "sim/policy/experts/oea.h"

#include "sim/policy/experts/expert_set.h"

namespace moecast {

void Oea::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  StartSets(batch, scratch);
  TakeBestMembers(
      batch,
      {.ranks = max_rank > 0 ? max_rank : batch.shape.ranks, .take = Most(batch.shape.top_k)},
      scratch);
}

}  // namespace moecast
