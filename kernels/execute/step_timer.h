// StepTimer: device time of what a graph holds, from the start of its first kernel to the end of
// its last, in whole nanoseconds. The graph is queued behind a pause, so that its launch on the
// host is not timed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/execute/model_ops.h"
#include "kernels/harness/clock_probe.h"
#include "kernels/harness/stream.h"
#include "sim/base/units.h"

namespace moecast::kernels {

class StepTimer {
 public:
  using Pick = std::function<bool(const StepOp&)>;

  explicit StepTimer(const Stream& stream) : stream_(stream) {}

  /// Runs the graph once. Waits.
  Seconds Time(const Graph& graph);
  /// Mean clock of the multiprocessors while the last graph ran.
  [[nodiscard]] double sm_mhz() const { return clock_.MeanMhz(); }
  /// Captures the ops that `pick` accepts, again and again where they are few, so that starting
  /// the graph weighs little. RETURNS: the time of one pass after a run that warms up, of short
  /// ones the median over a few; 0 without ops.
  Seconds TimeApart(std::span<const StepOp> ops, const Pick& pick);

 private:
  Seconds TimeBehind(uint64_t hold, const Graph& graph);

  const Stream& stream_;
  Event start_;
  Event end_;
  ClockProbe clock_;
};

}  // namespace moecast::kernels
