// Validation: how far a prediction was from the executed run: per step by batch and context, per
// op, for the composition of ops to layers and steps, for the headline figures and for speed-ups.
// An error is predicted / executed - 1: above 0 the prediction is too slow, or too high.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/run/run_study.h"
#include "sim/validate/execute_study.h"

namespace moecast {

/// Relative errors of many predictions. All zero without any.
struct ErrorSummary {
  int64_t count = 0;
  double bias = 0;  // of the sums: sum of predicted / sum of executed - 1
  double mean = 0;  // of the absolute errors, as are median and p95
  double median = 0;
  double p95 = 0;
};

/// A group of steps or of timings of one op.
struct ErrorLine {
  size_t case_index = 0;
  std::string group{};  // "decode batch 17-32, context 513-1024", "gemm.qkv"
  Seconds predicted{};  // mean
  Seconds executed{};   // mean
  ErrorSummary error{};
};

/// Sums over the steps whose ops were timed apart.
struct Composition {
  size_t case_index = 0;
  int64_t steps = 0;
  Seconds ops{};     // every op timed apart
  Seconds layers{};  // every layer timed as one
  Seconds whole{};   // the step as it ran
  [[nodiscard]] double ops_error() const { return ops / whole - 1; }
  [[nodiscard]] double layers_error() const { return layers / whole - 1; }
};

/// A headline figure of a case, in its own unit.
struct FigureError {
  size_t case_index = 0;
  std::string_view key{};  // as in table.csv
  double predicted = 0;
  double executed = 0;
  std::optional<bool> inside_95{};  // the executed figure lies in the prediction's 95 % interval
  [[nodiscard]] double error() const { return predicted / executed - 1; }
};

/// Output throughput over that of the first variant at the same load.
struct SpeedupError {
  size_t case_index = 0;
  double predicted = 1;
  double executed = 1;
  /// In percentage points.
  [[nodiscard]] double points() const { return 100 * (predicted - executed); }
};

struct Validation {
  std::vector<ErrorLine> steps{};        // per case and kind of step
  std::vector<ErrorLine> whole_cases{};  // per case, all its steps
  std::vector<ErrorLine> ops{};  // per case and op, steps with prompts on lines of their own
  std::vector<Composition> compositions{};
  std::vector<FigureError> figures{};
  std::vector<SpeedupError> speedups{};  // without the first variants
};

/// What a validation may differ by; absent: any difference.
struct Tolerances {
  std::optional<double> steps{};     // mean absolute error of steps, and of throughput and medians
  std::optional<double> tails{};     // error of p99 figures
  std::optional<double> speedups{};  // percentage points
};

/// REQUIRES: every executed time is above 0.
ErrorSummary Summarise(std::span<const Seconds> predicted, std::span<const Seconds> executed);

/// REQUIRES: both results are the study's.
Validation Compare(const Study& study, const StudyResult& predicted, const ExecutedStudy& executed);

/// One sentence per figure beyond its tolerance, with the case's name.
std::vector<std::string> Excesses(const Study& study, const Validation& validation,
                                  const Tolerances& tolerances);

/// "variant" or "variant@load".
std::string CaseName(const StudyCase& c);

}  // namespace moecast
