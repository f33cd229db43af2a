#include "sim/policy/experts/xshare.h"

#include "sim/policy/experts/expert_set.h"

namespace moecast {

void XShare::Count(const RankedBatch& batch, BatchScratch& scratch) const {
  ClearSets(batch.shape, scratch);
  AddBest(batch, 1, scratch);
  SumWeights(batch, scratch);
  FillByBudget(batch.shape, budget, scratch);
  CountBestMembers(batch, batch.shape.ranks, scratch);
}

}  // namespace moecast
