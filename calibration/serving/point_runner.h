// PointRunner: simulates measured points on a scenario, again and again with other constants.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "calibration/serving/serving_point.h"
#include "scenarios/scenario.h"
#include "sim/run/routing_tables.h"

namespace moecast::serving {

/// Which scenario the points were measured on, and how to run it.
struct PointScenario {
  std::filesystem::path file;
  std::vector<std::string> overrides{};  // of every point, before the point's own
  std::filesystem::path catalog;
  int threads = 1;
};

/// What the simulator says of a point, by the statistic the point was measured with.
struct PointForecast {
  double ttft_s = 0;
  double tpot_s = 0;
};

class PointRunner {
 public:
  /// The scenario's workload is replaced by each point's closed loop and lengths.
  /// ERRORS: the scenario's, with the point's place; variants or loads in it; a model that does not
  /// fit; a bad routing trace.
  static Result<PointRunner> Make(const PointScenario& scenario,
                                  std::span<const ServingPoint> points);

  /// Forecasts of the points at `which`, in that order.
  /// ERRORS: of a request or routing file met on the way.
  [[nodiscard]] Result<std::vector<PointForecast>> Run(const Efficiencies& efficiencies,
                                                       std::span<const size_t> which) const;
  /// The scenario's own constants.
  [[nodiscard]] const Efficiencies& base() const { return cases_.front().scenario.efficiencies; }

 private:
  PointRunner() = default;
  [[nodiscard]] Result<PointForecast> RunOne(size_t index, const Efficiencies& efficiencies) const;

  int threads_ = 1;
  std::vector<StudyCase> cases_;  // one per point
  std::vector<Statistic> statistics_;
  RoutingTables tables_;
};

/// The point's workload as an override "workload=...": lengths drawn between length_ratio of the
/// longest and the longest, `requests` (ten per request in flight when not stated) in all.
std::string WorkloadOverride(const ServingPoint& point);

}  // namespace moecast::serving
