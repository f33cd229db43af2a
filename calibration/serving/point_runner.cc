#include "calibration/serving/point_runner.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <thread>

#include "scenarios/scenario_codec.h"
#include "sim/base/text.h"
#include "sim/run/build.h"

namespace moecast::serving {
namespace {

/// Requests per one in flight: what benchmarks commonly run, and the most that is simulated.
constexpr int64_t kRequestsInFlight = 10;
constexpr int64_t kMostInFlight = 20;

std::string LengthText(double mean, double ratio) {
  const double longest = 2 * mean / (1 + ratio);
  const auto most = std::max<long long>(1, std::llround(longest));
  if (ratio >= 1) return "{fixed: {tokens: " + std::to_string(most) + "}}";
  const auto least = std::max<long long>(1, std::llround(longest * ratio));
  return "{uniform: {min_tokens: " + std::to_string(least) +
         ", max_tokens: " + std::to_string(most) + "}}";
}

Errors AtPoint(const ServingPoint& point, Errors errors) {
  for (Error& error : errors) error.message = "point " + point.where + ": " + error.message;
  return errors;
}

}  // namespace

std::string WorkloadOverride(const ServingPoint& point) {
  const int64_t requests = point.requests > 0
                               ? std::min(point.requests, kMostInFlight * point.concurrency)
                               : kRequestsInFlight * point.concurrency;
  return "workload={synthetic: {arrivals: {closed_loop: {concurrency: " +
         std::to_string(point.concurrency) +
         "}}, input: " + LengthText(point.input_tokens, point.length_ratio) +
         ", output: " + LengthText(point.output_tokens, point.length_ratio) +
         "}, stop: {requests: " + std::to_string(requests + point.warmup) +
         "}, warmup_requests: " + std::to_string(point.warmup) + "}";
}

Result<PointRunner> PointRunner::Make(const PointScenario& scenario,
                                      std::span<const ServingPoint> points) {
  PointRunner runner;
  runner.threads_ = std::max(scenario.threads, 1);
  Errors errors;
  for (const ServingPoint& point : points) {
    std::vector<std::string> overrides = scenario.overrides;
    overrides.insert(overrides.end(), point.overrides.begin(), point.overrides.end());
    overrides.push_back(WorkloadOverride(point));
    Result<Study> study = LoadStudy(scenario.file, overrides, scenario.catalog);
    if (!study.ok()) return AtPoint(point, study.errors());
    if (study->cases.size() != 1) {
      return Error{"a scenario to fit on has no variants and no loads; this one has " +
                       std::to_string(study->cases.size()) + " cases",
                   scenario.file.string()};
    }
    const Result<MemoryPlan> memory = PlanMemory(study->cases.front().scenario);
    if (!memory.ok()) {
      for (const Error& error : AtPoint(point, memory.errors())) errors.push_back(error);
    }
    runner.cases_.push_back(std::move(study->cases.front()));
    runner.statistics_.push_back(point.statistic);
  }
  if (!errors.empty()) return errors;
  SIM_TRY(runner.tables_, LoadRoutingTables(runner.cases_, runner.threads_));
  return runner;
}

Result<PointForecast> PointRunner::RunOne(size_t index, const Efficiencies& efficiencies) const {
  Scenario scenario = cases_[index].scenario;
  scenario.efficiencies = efficiencies;
  SIM_TRY(const MemoryPlan memory, PlanMemory(scenario));
  SIM_TRY(SimulatorInputs inputs,
          BuildSimulatorInputs(
              scenario,
              {.routing = tables_[index], .memory = memory, .replication = 0, .recorder = {}}));
  SIM_TRY(const RunResult result, Simulator(std::move(inputs)).Run());
  const Summary& summary = result.summary;
  const bool median = statistics_[index] == Statistic::kMedian;
  return PointForecast{.ttft_s = median ? summary.ttft.median : summary.ttft.mean,
                       .tpot_s = median ? summary.tpot.median : summary.tpot.mean};
}

Result<std::vector<PointForecast>> PointRunner::Run(const Efficiencies& efficiencies,
                                                    std::span<const size_t> which) const {
  std::vector<std::optional<Result<PointForecast>>> outcomes(which.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < which.size(); i = next++) {
      outcomes[i].emplace(RunOne(which[i], efficiencies));
    }
  };
  {
    std::vector<std::jthread> pool;
    const auto threads = std::min(static_cast<size_t>(threads_), which.size());
    for (size_t t = 1; t < threads; ++t) pool.emplace_back(work);
    work();
  }
  std::vector<PointForecast> forecasts;
  for (const std::optional<Result<PointForecast>>& outcome : outcomes) {
    if (!outcome->ok()) return outcome->errors();
    forecasts.push_back(**outcome);
  }
  return forecasts;
}

}  // namespace moecast::serving
