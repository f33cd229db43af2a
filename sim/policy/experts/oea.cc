#include "sim/policy/experts/oea.h"

#include <algorithm>

#include "sim/policy/experts/expert_set.h"

namespace moecast {

void Oea::Count(const RankedBatch& batch, BatchScratch& scratch) const {
  const int64_t top_k = batch.shape.top_k;
  RankedBatch limited = batch;
  limited.shape.top_k = most_k > 0 ? std::min(most_k, top_k) : top_k;
  ClearSets(batch.shape, scratch);
  AddBest(batch, std::min(base_k, limited.shape.top_k), scratch);
  CountBestMembers(limited, max_rank > 0 ? max_rank : batch.shape.ranks, scratch);
}

}  // namespace moecast
