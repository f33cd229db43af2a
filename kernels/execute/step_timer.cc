#include "kernels/execute/step_timer.h"

#include <algorithm>
#include <array>

#include "kernels/execute/glue.h"

namespace moecast::kernels {
namespace {

/// Longer than the host takes to queue a graph of some hundred kernels.
constexpr uint64_t kHoldNanoseconds = 150'000;
constexpr double kSecondsPerMicrosecond = 1e-6;

}  // namespace

Seconds StepTimer::Time(const Graph& graph) const {
  Hold(kHoldNanoseconds, stream_.get());
  start_.Record(stream_);
  graph.Launch(stream_);
  end_.Record(stream_);
  end_.Synchronize();
  return Seconds(end_.MicrosecondsSince(start_) * kSecondsPerMicrosecond);
}

Seconds StepTimer::TimeApart(std::span<const StepOp> ops,
                             const std::function<bool(const StepOp&)>& pick) const {
  if (std::ranges::none_of(ops, pick)) return {};
  const Graph graph(stream_, [&] {
    for (const StepOp& op : ops) {
      if (pick(op)) op.launch();
    }
  });
  Time(graph);
  std::array<Seconds, 3> times;
  for (Seconds& time : times) time = Time(graph);
  std::ranges::sort(times);
  return times[times.size() / 2];
}

}  // namespace moecast::kernels
