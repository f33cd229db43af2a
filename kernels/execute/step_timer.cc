#include "kernels/execute/step_timer.h"

#include <algorithm>
#include <array>

#include "kernels/execute/glue.h"

namespace moecast::kernels {
namespace {

/// Longer than the host takes to queue a graph of some hundred kernels.
constexpr uint64_t kHoldNanoseconds = 150'000;
/// Starting a graph costs some microseconds, as much as a small op.
constexpr std::ptrdiff_t kFewestOps = 8;
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
  Time(graph);
  std::array<Seconds, 3> times;
  for (Seconds& time : times) time = Time(graph);
  std::ranges::sort(times);
  return Seconds(times[times.size() / 2].count() / static_cast<double>(passes));
}

}  // namespace moecast::kernels
