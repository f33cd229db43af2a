// UniformKv: every layer and every sequence is kept in one scheme.
#pragma once

#include "sim/model/kv_plan.h"

namespace moecast {

struct UniformKv {
  KvScheme scheme{};

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const { return PlanUniformKv(model, scheme); }
  friend bool operator==(const UniformKv&, const UniformKv&) = default;
};

}  // namespace moecast
