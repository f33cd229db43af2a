#include "sim/policy/expert_selection.h"

#include "sim/base/check.h"

namespace moecast {

int64_t KeptExperts(const ExpertSelection& rule, const GateRow& row) {
  SIM_CHECK(!NeedsScores(rule) || std::ssize(row.scores) == row.native_top_k);
  const int64_t kept = std::visit([&row](const auto& r) { return r.Kept(row); }, rule);
  SIM_CHECK(kept >= 1 && kept <= row.native_top_k);  // INV-7
  return kept;
}

bool NeedsScores(const ExpertSelection& rule) {
  return std::visit([](const auto& r) { return r.kNeedsScores; }, rule);
}

double MeanKept(const ExpertSelection& rule, int64_t native_top_k, int64_t moe_layers) {
  SIM_CHECK(moe_layers >= 1);
  int64_t kept = 0;
  for (int64_t layer = 0; layer < moe_layers; ++layer) {
    kept += KeptExperts(rule, {.moe_layer = layer, .scores = {}, .native_top_k = native_top_k});
  }
  return static_cast<double>(kept) / static_cast<double>(moe_layers);
}

}  // namespace moecast
