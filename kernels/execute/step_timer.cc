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
/// Of two graphs whose difference is wanted.
constexpr int kDifferences = 3;
constexpr std::ptrdiff_t kRepeatedAlone = 64;
constexpr double kSecondsPerMicrosecond = 1e-6;

template <class T>
T MedianOf(std::vector<T>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::ptrdiff_t PassesFor(std::ptrdiff_t ops) { return (kFewestOps + ops - 1) / ops; }

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
  const auto passes = PassesFor(picked);
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
  return WholeNs(Seconds(MedianOf(times).count() / static_cast<double>(passes)));
}

Seconds StepTimer::TimeOf(const StepOp& op) {
  const Graph graph(stream_, [&op] {
    for (std::ptrdiff_t i = 0; i < kRepeatedAlone; ++i) op.launch();
  });
  std::vector<Seconds> times(kDifferences);
  for (Seconds& time : times) time = TimeBehind(kLongHold, graph);
  return Seconds(MedianOf(times).count() / static_cast<double>(kRepeatedAlone));
}

Seconds StepTimer::ExtraBehind(std::span<const StepOp> ops, const Pick& pick,
                               const StepOp& between) {
  const auto picked = std::ranges::count_if(ops, pick);
  if (picked == 0) return {};
  const auto passes = PassesFor(picked);
  const auto graph_of = [&](bool spaced) {
    return Graph(stream_, [&, spaced] {
      for (std::ptrdiff_t pass = 0; pass < passes; ++pass) {
        for (const StepOp& op : ops) {
          if (!pick(op)) continue;
          op.launch();
          if (spaced) between.launch();
        }
      }
    });
  };
  const Graph alone = graph_of(false);
  const Graph spaced = graph_of(true);
  std::vector<Seconds> differences;
  for (int i = 0; i <= kDifferences; ++i) {
    const Seconds time = TimeBehind(kLongHold, alone);
    const Seconds with = TimeBehind(kLongHold, spaced);
    if (i > 0) differences.push_back(with - time);  // the first run warms up
  }
  const double spacers = static_cast<double>(passes * picked) * TimeOf(between).count();
  return Seconds((MedianOf(differences).count() - spacers) / static_cast<double>(passes));
}

}  // namespace moecast::kernels
