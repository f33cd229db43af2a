#include "sim/policy/kv_policy.h"

#include "sim/base/text.h"

namespace moecast {

KvPlan PlanKv(const KvPolicy& policy, const ModelSpec& model) {
  return std::visit([&model](const auto& p) { return p.Plan(model); }, policy);
}

std::string DescribeKv(const KvPlan& plan) {
  std::string text = plan.stores.front().name;
  if (plan.pressure) {
    text += ", above " + Fixed(plan.pressure->above, 2) + " " + plan.stores.back().name +
            (plan.pressure->who == KvPressure::Who::kNew ? " for new sequences"
                                                         : " for the oldest sequences");
  }
  if (plan.budget) text += ", " + std::to_string(plan.budget->tokens) + " tokens attended to";
  if (plan.keep_tokens > 0) text += ", " + std::to_string(plan.keep_tokens) + " tokens kept";
  return text;
}

}  // namespace moecast
