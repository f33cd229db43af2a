#include "sim/policy/experts/layer_schedule.h"

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

int64_t LayerSchedule::Kept(const GateRow& row) const {
  SIM_CHECK(row.moe_layer >= 0 && row.moe_layer < std::ssize(k_per_moe_layer));
  return std::min(k_per_moe_layer[static_cast<size_t>(row.moe_layer)], row.native_top_k);
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

}  // namespace moecast
