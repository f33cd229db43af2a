// CostModel: who says how long a step takes. Asked with a StepShape, answers with a StepTime.
#pragma once

#include <concepts>
#include <variant>

#include "sim/base/units.h"
#include "sim/cost/step_cost.h"
#include "sim/model/step_shape.h"

namespace moecast {

template <class T>
concept PredictsSteps = requires(T model, const StepShape& step) {
  { model.Predict(step) } -> std::same_as<StepTime>;
};

/// A server of textbooks: each step takes `per_step` and `per_token` for each real token, all of it
/// labelled analytic. For closed-form checks of the engine.
struct AffineCost {
  Duration per_step{1};
  Duration per_token{0};
  [[nodiscard]] StepTime Predict(const StepShape& step) const;
};

static_assert(PredictsSteps<AffineCost> && PredictsSteps<StepCost>);
using CostModel = std::variant<AffineCost, StepCost>;

/// RETURNS: at least 1 ns (INV-6).
StepTime PredictStep(CostModel& cost, const StepShape& step);

}  // namespace moecast
