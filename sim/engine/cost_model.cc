#include "sim/engine/cost_model.h"

#include <algorithm>

namespace moecast {

StepTime AffineCost::Predict(const StepShape& step) const {
  StepTime time;
  time.total = std::max(Duration(1), per_step + per_token * step.tokens);
  time.dense = Seconds(ToSeconds(time.total));
  time.by_label[static_cast<size_t>(Label::kAnalytic)] = time.dense;
  return time;
}

bool WantsDetail(const CostModel& cost) { return std::holds_alternative<ExecutedCost>(cost); }

StepTime TimeOfStep(CostModel& cost, const StepDetail& step) {
  if (auto* executed = std::get_if<ExecutedCost>(&cost)) {
    return executed->run(step, executed->predicted);
  }
  if (auto* affine = std::get_if<AffineCost>(&cost)) return affine->Predict(step.shape);
  return std::get<StepCost>(cost).Predict(step.shape);
}

}  // namespace moecast
