// CostModel: who says how long a step takes: a prediction from its shape, or a GPU that runs it.
#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <variant>

#include "sim/base/units.h"
#include "sim/cost/step_cost.h"
#include "sim/model/step_executor.h"
#include "sim/model/step_shape.h"
#include "sim/replay/routed_span.h"

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

/// A step and whose tokens it is made of: what running it takes beyond pricing it.
struct StepDetail {
  const StepShape& shape;
  std::span<const SequenceWork> sequences{};  // in batch order
  std::span<const RoutedSpan> routed{};       // the tokens of those sequences, in their order
};

/// Runs every step; `predicted` prices the same shapes beside it. A replica of one GPU only.
struct ExecutedCost {
  StepCost predicted;
  std::function<StepTime(const StepDetail& step, StepCost& predicted)> run;
};

static_assert(PredictsSteps<AffineCost> && PredictsSteps<StepCost>);
using CostModel = std::variant<AffineCost, StepCost, ExecutedCost>;

/// Whether the model reads more of a StepDetail than its shape.
bool WantsDetail(const CostModel& cost);

/// RETURNS: at least 1 ns (INV-6).
StepTime TimeOfStep(CostModel& cost, const StepDetail& step);

}  // namespace moecast
