#include "sim/policy/experts/lynx.h"

#include <algorithm>
#include <cmath>

#include "sim/policy/experts/expert_set.h"

namespace moecast {

uint16_t Lynx::Weight(const RankScore& rank) const {
  if (rank.best <= 0) return 0;
  const auto lowest = -static_cast<double>(bins);
  double bin = lowest;
  if (rank.score > 0) {
    const double affinity = std::log(static_cast<double>(rank.score) / rank.best);
    bin = std::clamp(std::floor(sharpness * affinity), lowest, 0.0);
  }
  return ScoreWeight(static_cast<float>(std::pow(base, bin)));
}

void Lynx::Count(const RankedBatch& batch, BatchScratch& scratch) const {
  ClearSets(batch.shape, scratch);
  SumWeights(batch, scratch);
  FillByMass(batch.shape, mass, scratch);
  AddBest(batch, 1, scratch);
  CountBestMembers(batch, batch.shape.ranks, scratch);
}

}  // namespace moecast
