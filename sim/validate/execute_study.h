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
#include "sim/validate/last_executor.h"
#include "sim/validate/step_log.h"

namespace moecast {

/// Where the wall time of executing a case went.
struct CaseSeconds {
  Seconds opening{};     // weights and cache; 0 where the case before had the same executor
  Seconds preparing{};   // inputs of steps, algorithms, graphs
  Seconds gpu{};         // the steps themselves
  Seconds timing_ops{};  // ops and layers apart
  Seconds all{};         // with the simulation and everything else
};

struct ExecutedStudy {
  StudyResult result;                 // cases as in the study
  std::vector<StepComparison> steps;  // case by case, in order of time
  std::vector<CaseSeconds> times;     // of every case
  std::string device;
};

struct ExecutionOptions {
  /// As in RunOptions.
  std::optional<std::filesystem::path> request_rows{};
  /// Is told what happens now, several times a second.
  std::function<void(const std::string&)> progress{};
};

/// Cases that no executor can run: several GPUs or replicas, expected instead of real expert
/// choices. ERRORS: one per distinct reason, naming the case.
Status CheckExecutable(const Study& study);

/// Runs case after case on one executor at a time.
/// REQUIRES: CheckExecutable(study) passed.
/// ERRORS: a case that does not fit, a bad file, and the executor's.
Result<ExecutedStudy> ExecuteStudy(const Study& study, const OpenExecutor& open,
                                   const ExecutionOptions& options);

}  // namespace moecast
