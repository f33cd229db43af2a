#include "sim/policy/expert_selection.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Entry `index` of a ramp of `count` entries from `start` towards `end`, which is not reached.
/// The order of operations and the rounding (half to even) are those of the published script.
int64_t RampEntry(int64_t start, int64_t end, int64_t count, int64_t index) {
  const double slope = static_cast<double>(end - start) / static_cast<double>(count);
  return start + static_cast<int64_t>(std::nearbyint(slope * static_cast<double>(index)));
}

}  // namespace

int64_t UniformTopK::Kept(const GateRow& row) const { return std::min(k, row.native_top_k); }

int64_t LayerSchedule::Kept(const GateRow& row) const {
  SIM_CHECK(row.moe_layer >= 0 && row.moe_layer < std::ssize(k_per_moe_layer));
  return std::min(k_per_moe_layer[static_cast<size_t>(row.moe_layer)], row.native_top_k);
}

int64_t KeptExperts(const ExpertSelection& rule, const GateRow& row) {
  const int64_t kept = std::visit([&row](const auto& r) { return r.Kept(row); }, rule);
  SIM_CHECK(kept >= 1 && kept <= row.native_top_k);  // INV-7
  return kept;
}

std::vector<int64_t> LayerScheduleFromTuple(const ScheduleTuple& tuple, int64_t model_layers,
                                            std::span<const int32_t> moe_layers) {
  const auto& [b, h, e, p] = tuple;
  SIM_CHECK(b >= 1 && h >= 1 && e >= 1 && p >= 0);
  const int64_t ramped = model_layers - 1;  // layers 1, 2, ...
  const int64_t rising = std::min(p, ramped);
  std::vector<int64_t> schedule;
  schedule.reserve(moe_layers.size());
  for (const int32_t layer : moe_layers) {
    SIM_CHECK(layer >= 0 && layer < model_layers);
    if (layer == 0) {
      schedule.push_back(b);
    } else if (layer - 1 < rising) {
      schedule.push_back(RampEntry(b, h, rising, layer - 1));
    } else {
      schedule.push_back(RampEntry(h, e, ramped - rising, layer - 1 - rising));
    }
  }
  return schedule;
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
