// KV policy: how the cached keys and values of a sequence are kept and which of them are read.
// Resolved once for a model; docs/model/kv.md, docs/policies.md.
#pragma once

#include <string>
#include <variant>

#include "sim/policy/kv/asymkv.h"
#include "sim/policy/kv/by_age.h"
#include "sim/policy/kv/by_layer.h"
#include "sim/policy/kv/sliding_eviction.h"
#include "sim/policy/kv/token_budget.h"
#include "sim/policy/kv/under_pressure.h"
#include "sim/policy/kv/uniform_kv.h"
#include "sim/policy/kv/xquant.h"

namespace moecast {

using KvPolicy = std::variant<UniformKv, AsymKv, XQuantKv, KvByLayer, KvByAge, KvUnderPressure,
                              KvTokenBudget, KvSlidingEviction>;

/// REQUIRES: schemes that suit the model's attention; by layer, as many layers as it caches; at
/// most kMostKvBoundaries ages.
KvPlan PlanKv(const KvPolicy& policy, const ModelSpec& model);

/// "bf16", "xquant 32_0_32_16", "bf16, above 0.80 kivi2 for the oldest", ...
std::string DescribeKv(const KvPlan& plan);

}  // namespace moecast
