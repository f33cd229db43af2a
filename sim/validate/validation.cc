#include "sim/validate/validation.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>

#include "reports/figures.h"
#include "sim/base/check.h"
#include "sim/base/stats.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

constexpr std::array<std::string_view, 7> kCompared = {
    "output_tokens_per_s", "ttft_median_ms", "ttft_p99_ms", "tpot_median_ms",
    "tpot_p99_ms",         "itl_median_ms",  "itl_p99_ms"};
constexpr std::string_view kThroughput = "output_tokens_per_s";
constexpr double kPercent = 100;

bool IsTail(std::string_view key) { return key.find("_p99_") != std::string_view::npos; }

/// Predicted and executed times of one group.
struct Pairs {
  std::vector<Seconds> predicted;
  std::vector<Seconds> executed;
  void Add(Seconds p, Seconds e) {
    predicted.push_back(p);
    executed.push_back(e);
  }
};

Seconds MeanOf(const std::vector<Seconds>& times) {
  Seconds sum;
  for (const Seconds time : times) sum += time;
  return Seconds(sum.count() / static_cast<double>(times.size()));
}

ErrorLine LineOf(size_t case_index, std::string group, const Pairs& pairs) {
  return {.case_index = case_index,
          .group = std::move(group),
          .predicted = MeanOf(pairs.predicted),
          .executed = MeanOf(pairs.executed),
          .error = Summarise(pairs.predicted, pairs.executed)};
}

/// "17-32": the octave of a count, which ends at a power of two.
std::string OctaveText(int64_t count) {
  const auto end = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
  return end <= 2 ? std::to_string(end) : std::to_string(end / 2 + 1) + "-" + std::to_string(end);
}

/// A step's kind: its sort key, then its text.
using Kind = std::pair<std::array<int64_t, 3>, std::string>;

Kind KindOf(const StepComparison& step) {
  const auto ceil = [](int64_t n) {
    return n == 0 ? 0 : static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n)));
  };
  const int64_t batch = step.decode_sequences;
  if (step.prefill_tokens > 0) {
    return {{1, ceil(step.prefill_tokens), ceil(batch)},
            "prefill " + OctaveText(step.prefill_tokens) +
                (batch > 0 ? ", decode batch " + OctaveText(batch) : "")};
  }
  const int64_t context = step.decode_context / batch;
  return {{0, ceil(batch), ceil(context)},
          "decode batch " + OctaveText(batch) + ", context " + OctaveText(context)};
}

void AddSteps(const std::vector<StepComparison>& steps, Validation& validation) {
  std::map<size_t, Pairs> cases;
  std::map<std::pair<size_t, Kind>, Pairs> kinds;
  for (const StepComparison& step : steps) {
    cases[step.case_index].Add(step.predicted, step.executed);
    kinds[{step.case_index, KindOf(step)}].Add(step.predicted, step.executed);
  }
  for (const auto& [i, pairs] : cases) {
    validation.whole_cases.push_back(LineOf(i, "all steps", pairs));
  }
  for (const auto& [key, pairs] : kinds) {
    validation.steps.push_back(LineOf(key.first, key.second.second, pairs));
  }
}

void AddOps(const std::vector<StepComparison>& steps, Validation& validation) {
  std::map<std::pair<size_t, std::string>, Pairs> ops;
  std::map<size_t, Composition> compositions;
  for (const StepComparison& step : steps) {
    if (step.ops.empty()) continue;
    Composition& sum = compositions[step.case_index];
    sum.case_index = step.case_index;
    ++sum.steps;
    sum.layers += step.layers;
    sum.whole += step.executed;
    for (const OpComparison& op : step.ops) {
      sum.ops += op.executed;
      if (op.executed.count() == 0) continue;
      const std::string group = op.op + (step.prefill_tokens > 0 ? ", with prompts" : "");
      ops[{step.case_index, group}].Add(op.predicted, op.executed);
    }
  }
  for (const auto& [key, pairs] : ops) {
    validation.ops.push_back(LineOf(key.first, key.second, pairs));
  }
  for (const auto& [i, sum] : compositions) validation.compositions.push_back(sum);
}

void AddFigures(const std::vector<CaseFigures>& predicted, const std::vector<CaseFigures>& executed,
                Validation& validation) {
  for (size_t i = 0; i < predicted.size(); ++i) {
    for (const std::string_view key : kCompared) {
      const Estimate& p = predicted[i].estimates[FigureIndex(key)];
      const Estimate& e = executed[i].estimates[FigureIndex(key)];
      if (!p.value || !e.value || e.value->mean == 0) continue;
      FigureError figure{
          .case_index = i, .key = key, .predicted = p.value->mean, .executed = e.value->mean};
      if (p.range95) {
        figure.inside_95 = figure.executed >= p.range95->low && figure.executed <= p.range95->high;
      }
      validation.figures.push_back(figure);
    }
    if (predicted[i].first_index == i) continue;
    const Estimate& p = predicted[i].estimates[FigureIndex(kThroughput)];
    const Estimate& e = executed[i].estimates[FigureIndex(kThroughput)];
    if (!p.ratio || !e.ratio) continue;
    validation.speedups.push_back({.case_index = i, .predicted = *p.ratio, .executed = *e.ratio});
  }
}

std::string Percent(double ratio) { return Fixed(kPercent * ratio, 1) + " %"; }

}  // namespace

std::string CaseName(const StudyCase& c) {
  return c.load.empty() ? c.variant : c.variant + "@" + c.load;
}

ErrorSummary Summarise(std::span<const Seconds> predicted, std::span<const Seconds> executed) {
  SIM_CHECK(predicted.size() == executed.size());
  if (predicted.empty()) return {};
  Seconds sum_predicted;
  Seconds sum_executed;
  std::vector<double> errors;
  for (size_t i = 0; i < predicted.size(); ++i) {
    SIM_CHECK(executed[i].count() > 0);
    sum_predicted += predicted[i];
    sum_executed += executed[i];
    errors.push_back(std::abs(predicted[i] / executed[i] - 1));
  }
  constexpr double kMedian = 0.5;
  constexpr double kP95 = 0.95;
  const double mean = Mean(errors);
  return {.count = static_cast<int64_t>(errors.size()),
          .bias = sum_predicted / sum_executed - 1,
          .mean = mean,
          .median = Quantile(errors, kMedian),
          .p95 = Quantile(errors, kP95)};
}

Validation Compare(const Study& study, const StudyResult& predicted,
                   const ExecutedStudy& executed) {
  Validation validation;
  AddSteps(executed.steps, validation);
  AddOps(executed.steps, validation);
  AddFigures(EstimateFigures(study, predicted), EstimateFigures(study, executed.result),
             validation);
  return validation;
}

std::vector<std::string> Excesses(const Study& study, const Validation& validation,
                                  const Tolerances& tolerances) {
  std::vector<std::string> excesses;
  const auto name = [&](size_t i) { return CaseName(study.cases[i]) + ": "; };
  for (const ErrorLine& line : validation.whole_cases) {
    if (!tolerances.steps || line.error.mean <= *tolerances.steps) continue;
    excesses.push_back(name(line.case_index) + "mean error of steps " + Percent(line.error.mean) +
                       ", allowed " + Percent(*tolerances.steps));
  }
  for (const FigureError& figure : validation.figures) {
    const auto& allowed = IsTail(figure.key) ? tolerances.tails : tolerances.steps;
    if (!allowed || std::abs(figure.error()) <= *allowed) continue;
    excesses.push_back(name(figure.case_index) + std::string(figure.key) + " off by " +
                       Percent(figure.error()) + ", allowed " + Percent(*allowed));
  }
  for (const SpeedupError& speedup : validation.speedups) {
    if (!tolerances.speedups || std::abs(speedup.points()) <= *tolerances.speedups) continue;
    excesses.push_back(name(speedup.case_index) + "speed-up off by " + Fixed(speedup.points(), 1) +
                       " points, allowed " + Fixed(*tolerances.speedups, 1));
  }
  return excesses;
}

}  // namespace moecast
