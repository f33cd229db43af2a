#include "sim/policy/experts/xshare.h"

#include "sim/policy/experts/expert_set.h"

namespace moecast {

void XShare::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  StartSets(batch, scratch);
  FillByBudget(batch, budget, scratch);
  TakeBestMembers(batch, {.ranks = batch.shape.ranks, .take = batch.shape.top_k}, scratch);
}

}  // namespace moecast
