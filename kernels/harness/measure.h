// Measure: device time of one launch, as the median over replays of a graph that holds several.
// docs/measurement.md says why and when the number may be trusted.
#pragma once

#include <functional>

#include "kernels/harness/clock_monitor.h"
#include "kernels/harness/clock_probe.h"
#include "kernels/harness/stopping_rule.h"
#include "kernels/harness/stream.h"
#include "kernels/harness/timed_row.h"

namespace moecast::kernels {

/// Launches per graph and how long the graph should run at least, so that the events' resolution
/// and the graph's own start weigh little. Above one `period` the number is a multiple of it, so
/// that every member of the caller's rotation is launched equally often.
struct ReplayPlan {
  int min_launches = 4;
  int period = 16;
  int max_periods = 4;
  double replay_us = 400;
};

struct Bench {
  const Stream& stream;
  const ClockMonitor& clocks;
  const ClockProbe& probe;
  StoppingRule rule;
  PowerCap power_cap = PowerCap::kHoldsBack;
  /// Untimed replays in front of every block: the clock follows the load of the last milliseconds.
  double load_us = 0;
};

/// Enqueues launch number `launch` of a replay on the bench's stream. The caller rotates its
/// buffers by that number, so that a launch finds its weights outside the caches.
using EnqueueLaunch = std::function<void(int launch)>;

/// Fills the timing columns of `row`. The kernels must have passed their check in this process.
/// ERRORS: throws CudaError, with row.op, when every sample was discarded.
void Measure(const Bench& bench, const ReplayPlan& plan, const EnqueueLaunch& enqueue,
             TimedRow& row);

}  // namespace moecast::kernels
