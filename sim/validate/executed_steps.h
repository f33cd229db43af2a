// ExecutedSteps: the cost model of a run whose steps are executed. Prices every step as the
// prediction does, has it executed, and notes both.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "sim/base/result.h"
#include "sim/engine/cost_model.h"
#include "sim/model/step_executor.h"
#include "sim/validate/expert_ids.h"
#include "sim/validate/step_log.h"

namespace moecast {

class ExecutedSteps {
 public:
  /// `opened`: what the executor was opened for. REQUIRES: `executor` and `log` outlive
  /// this object.
  ExecutedSteps(const StepExecutor& executor, ExecutorRequest opened, ExpertIds ids,
                size_t case_index, std::vector<StepComparison>& log);

  /// RETURNS: the executed GPU time and the predicted host time. After a failure, the prediction.
  StepTime Run(const StepDetail& step, StepCost& predicted);
  /// ERRORS: the executor's, of the first step that it could not run.
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] int64_t count() const { return steps_; }
  /// Sums over the steps so far.
  [[nodiscard]] Seconds gpu() const { return gpu_; }
  [[nodiscard]] Seconds preparing() const { return preparing_; }
  [[nodiscard]] Seconds timing_ops() const { return timing_ops_; }

 private:
  /// Steps alike in this have their ops timed once: timing them takes several times the step.
  using Kind = std::pair<bool, int>;  // graph, log2 of rows
  bool IsNewKind(const StepShape& shape);
  void Note(const StepShape& shape, const StepTime& predicted, const ExecutedStep& executed,
            uint64_t work);

  const StepExecutor& executor_;
  ExecutorRequest opened_;
  ExpertIds ids_;
  size_t case_index_;
  std::vector<StepComparison>& log_;
  int64_t steps_ = 0;
  Seconds gpu_{};
  Seconds preparing_{};
  Seconds timing_ops_{};
  std::set<Kind> seen_;
  Status status_ = Ok();
};

}  // namespace moecast
