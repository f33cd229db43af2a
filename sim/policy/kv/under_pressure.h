// KvUnderPressure: sequences go to a narrower scheme while the cache is nearly full.
#pragma once

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvUnderPressure {
  KvScheme normal{};
  KvScheme pressed{};
  double above = 1;  // share of the blocks in use
  KvPressure::Who who = KvPressure::Who::kNew;

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const {
    KvPlan plan = PlanUniformKv(model, normal);
    plan.stores.push_back(PlanUniformKv(model, pressed).stores.front());
    plan.pressure = {.above = above, .who = who};
    return plan;
  }
  friend bool operator==(const KvUnderPressure&, const KvUnderPressure&) = default;
};

}  // namespace moecast
