// KvTokenBudget: everything is kept, decode attends to a chosen part of it; choosing costs what a
// predictor computes for every cached token and head. [AttentionPredictor25]
#pragma once

#include <cstdint>

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvTokenBudget {
  KvScheme scheme{};  // keeps every token alike
  int64_t tokens = 0;
  int64_t recalibrate = 0;     // every so many tokens decode attends to all; 0: never
  double predictor_flops = 0;  // per cached token, query head and layer
  double predictor_bytes = 0;

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const {
    KvPlan plan = PlanUniformKv(model, scheme);
    plan.budget = {.tokens = tokens,
                   .recalibrate = recalibrate,
                   .predictor_flops = predictor_flops,
                   .predictor_bytes = predictor_bytes};
    return plan;
  }
  friend bool operator==(const KvTokenBudget&, const KvTokenBudget&) = default;
};

}  // namespace moecast
