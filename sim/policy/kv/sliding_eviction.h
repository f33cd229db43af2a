// KvSlidingEviction: the first and the newest tokens of a sequence are kept, the others dropped.
// [StreamingLLM23]
#pragma once

#include <cstdint>

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvSlidingEviction {
  KvScheme scheme{};
  int64_t sink = 0;
  int64_t window = 0;

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const {
    KvPlan plan = PlanUniformKv(model, scheme);
    plan.keep_tokens = sink + window;
    return plan;
  }
  friend bool operator==(const KvSlidingEviction&, const KvSlidingEviction&) = default;
};

}  // namespace moecast
