// TimeSeries: time averages and counts per sampling period, in bounded memory. When the rows would
// exceed their limit the period doubles and neighbours are merged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/units.h"
#include "sim/metrics/records.h"

namespace moecast {

/// State of the cluster after an event, for time averages.
struct ClusterState {
  int64_t running = 0;
  int64_t waiting = 0;
  double kv_used_ratio = 0;
};

/// Integrals of the cluster's state over time, in request-nanoseconds (ratio-nanoseconds).
struct StateIntegral {
  double running = 0;
  double waiting = 0;
  double kv_used_ratio = 0;

  void Add(const ClusterState& state, Duration duration);
  friend StateIntegral operator-(const StateIntegral& a, const StateIntegral& b) {
    return {a.running - b.running, a.waiting - b.waiting, a.kv_used_ratio - b.kv_used_ratio};
  }
};

class TimeSeries {
 public:
  struct Config {
    Duration period{0};
    size_t max_samples = 0;  // even, at least 2
  };
  explicit TimeSeries(Config config);

  /// `state` held from the last call until `at`. COST: O(1) plus one row per period passed.
  void Advance(Time at, const ClusterState& state);
  /// Counts of the current period, to be added to.
  TimeSample& current() { return current_; }
  /// Closes the last, possibly shorter, period at `end`. Call once, last.
  void Finish(Time end, const ClusterState& state);

  /// Integral from time zero to the last Advance.
  [[nodiscard]] const StateIntegral& integral() const { return integral_; }
  [[nodiscard]] std::span<const TimeSample> samples() const { return samples_; }

 private:
  void ClosePeriod(Time end);
  void MergeNeighbours();

  Config config_;
  Time now_;
  Time period_start_;
  StateIntegral integral_;
  StateIntegral at_period_start_;
  TimeSample current_;
  std::vector<TimeSample> samples_;
};

}  // namespace moecast
