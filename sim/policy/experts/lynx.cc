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

void Lynx::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  StartSets(batch, scratch);
  FillByMass(batch, mass, scratch);
  TakeBestMembers(batch, {.ranks = batch.shape.ranks, .take = batch.shape.top_k}, scratch);
}

}  // namespace moecast
