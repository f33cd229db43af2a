// ExecuteStudy: the cases of a study, run by the same simulator on the same seeds, with every step
// executed instead of priced. docs/validation.md.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"
#include "sim/model/step_executor.h"
#include "sim/run/run_study.h"
#include "sim/validate/step_log.h"

namespace moecast {

using OpenExecutor = std::function<Result<StepExecutor>(const ExecutorRequest&)>;

struct ExecutedStudy {
  StudyResult result;                 // cases as in the study
  std::vector<StepComparison> steps;  // case by case, in order of time
  std::string device;
};

/// Cases that no executor can run: several GPUs or replicas, expected instead of real expert
/// choices. ERRORS: one per distinct reason, naming the case.
Status CheckExecutable(const Study& study);

/// Runs case after case on one executor at a time. `request_rows` as in RunOptions.
/// REQUIRES: CheckExecutable(study) passed.
/// ERRORS: a case that does not fit, a bad file, and the executor's.
Result<ExecutedStudy> ExecuteStudy(const Study& study, const OpenExecutor& open,
                                   const std::optional<std::filesystem::path>& request_rows);

}  // namespace moecast
