#include "kernels/execute/step_timer.h"

#include <algorithm>
#include <vector>

#include "kernels/execute/glue.h"

namespace moecast::kernels {
namespace {

/// Longer than the host takes to queue a graph: of few kernels, and of some hundred.
constexpr uint64_t kShortHold = 40'000;  // ns
constexpr uint64_t kLongHold = 150'000;
constexpr std::ptrdiff_t kFewKernels = 32;
/// Runs of a short graph; a long one is timed once.
constexpr std::ptrdiff_t kRuns = 3;
constexpr Seconds kLong{3e-4};
/// Starting a graph costs some microseconds, as much as a small op.
constexpr std::ptrdiff_t kFewestOps = 8;
constexpr double kSecondsPerMicrosecond = 1e-6;

}  // namespace

Seconds StepTimer::Time(const Graph& graph) { return TimeBehind(kLongHold, graph); }

Seconds StepTimer::TimeBehind(uint64_t hold, const Graph& graph) {
  Hold(hold, stream_.get());
  clock_.Begin(stream_);
  start_.Record(stream_);
  graph.Launch(stream_);
  end_.Record(stream_);
  clock_.End(stream_);
  end_.Synchronize();
  return WholeNs(Seconds(end_.MicrosecondsSince(start_) * kSecondsPerMicrosecond));
}

Seconds StepTimer::TimeApart(std::span<const StepOp> ops, const Pick& pick) {
  const auto picked = std::ranges::count_if(ops, pick);
  if (picked == 0) return {};
  const auto passes = (kFewestOps + picked - 1) / picked;
  const Graph graph(stream_, [&] {
    for (std::ptrdiff_t pass = 0; pass < passes; ++pass) {
      for (const StepOp& op : ops) {
        if (pick(op)) op.launch();
      }
    }
  });
  const uint64_t hold = passes * picked <= kFewKernels ? kShortHold : kLongHold;
  const bool once = TimeBehind(hold, graph) > kLong;
  std::vector<Seconds> times(once ? 1 : kRuns);
  for (Seconds& time : times) time = TimeBehind(hold, graph);
  std::ranges::sort(times);
  return WholeNs(Seconds(times[times.size() / 2].count() / static_cast<double>(passes)));
}

}  // namespace moecast::kernels
