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

StepTime PredictStep(CostModel& cost, const StepShape& step) {
  return std::visit([&step](auto& model) { return model.Predict(step); }, cost);
}

}  // namespace moecast
