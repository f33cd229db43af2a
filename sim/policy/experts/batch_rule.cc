#include "sim/policy/experts/batch_rule.h"

namespace moecast {

bool BatchRule::Acts(const StepLoad& load) const {
  if (most_tokens > 0 && load.tokens() > most_tokens) return false;
  return scope != BatchScope::kDecodeSteps || load.prefill_tokens == 0;
}

bool BatchRule::NeedsScores() const {
  return std::visit([](const auto& rule) { return rule.kNeedsScores; }, kind);
}

bool BatchRule::HasWeights() const {
  return std::visit([](const auto& rule) { return rule.kHasWeights; }, kind);
}

int64_t BatchRule::RanksWanted(int64_t top_k) const {
  return std::visit([top_k](const auto& rule) { return rule.RanksWanted(top_k); }, kind);
}

uint16_t BatchRule::Weight(const RankScore& rank) const {
  return std::visit([&rank](const auto& rule) { return rule.Weight(rank); }, kind);
}

int64_t BatchRule::BestRanks(int64_t top_k) const {
  return std::visit([top_k](const auto& rule) { return rule.BestRanks(top_k); }, kind);
}

void BatchRule::Choose(const RankedBatch& batch, BatchScratch& scratch) const {
  std::visit([&](const auto& rule) { rule.Choose(batch, scratch); }, kind);
}

}  // namespace moecast
