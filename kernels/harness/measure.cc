#include "kernels/harness/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <thread>
#include <vector>

#include "kernels/harness/sample_ledger.h"

namespace moecast::kernels {
namespace {

constexpr int kWarmUpReplays = 2;
constexpr int kBlock = 10;                          // replays judged by one clock reading
constexpr std::chrono::milliseconds kRecovery{40};  // before the block after a discarded one

// Microseconds of each of `count` replays, and the clock meanwhile. All are enqueued before the
// host waits, behind `lead` that are not timed, so the stream never runs dry between them.
struct Block {
  std::vector<double> times;
  double sm_mhz = 0;
};
Block TimeReplays(const Bench& bench, const Graph& graph, int count, int lead = 1) {
  std::vector<Event> events(static_cast<size_t>(count) + 1);
  for (int i = 0; i < lead; ++i) graph.Launch(bench.stream);
  bench.probe.Begin(bench.stream);
  events[0].Record(bench.stream);
  for (size_t i = 1; i < events.size(); ++i) {
    graph.Launch(bench.stream);
    events[i].Record(bench.stream);
  }
  bench.probe.End(bench.stream);
  bench.stream.Synchronize();
  Block block{.times = {}, .sm_mhz = bench.probe.MeanMhz()};
  for (size_t i = 1; i < events.size(); ++i)
    block.times.push_back(events[i].MicrosecondsSince(events[i - 1]));
  return block;
}

int LaunchesPerReplay(const Bench& bench, const ReplayPlan& plan, const EnqueueLaunch& enqueue) {
  const Graph pilot(bench.stream, [&] {
    for (int i = 0; i < plan.min_launches; ++i) enqueue(i);
  });
  const Block block = TimeReplays(bench, pilot, kWarmUpReplays + 1);
  const double launch_us = block.times.back() / plan.min_launches;
  const double wanted = std::ceil(plan.replay_us / std::max(launch_us, 0.1));
  if (wanted <= plan.period) return std::max(static_cast<int>(wanted), plan.min_launches);
  const double periods = std::min<double>(std::ceil(wanted / plan.period), plan.max_periods);
  return plan.period * static_cast<int>(periods);
}

}  // namespace

void Measure(const Bench& bench, const ReplayPlan& plan, const EnqueueLaunch& enqueue,
             TimedRow& row) {
  const int launches = LaunchesPerReplay(bench, plan, enqueue);
  const Graph graph(bench.stream, [&] {
    for (int i = 0; i < launches; ++i) enqueue(i);
  });
  const double replay_us = TimeReplays(bench, graph, kWarmUpReplays).times.back();
  const int lead = 1 + static_cast<int>(bench.load_us / std::max(replay_us, 1.0));
  const auto replays = static_cast<int>(bench.load_us > 0 ? bench.rule.min_samples : kBlock);
  SampleLedger ledger(bench.power_cap);
  double seconds = 0;
  StopReason stop = StopReason::kGoOn;
  // A card that is held back for good ends the row with what it has.
  const size_t most_discarded = 2 * bench.rule.max_samples;
  while (stop == StopReason::kGoOn && ledger.discarded() < most_discarded) {
    Block block = TimeReplays(bench, graph, replays, lead);
    std::optional<ClockReading> reading = bench.clocks.Read();
    if (reading) reading->effective_mhz = block.sm_mhz;
    for (double& time : block.times) {
      seconds += time * 1e-6;
      time /= launches;
    }
    const size_t discarded = ledger.discarded();
    ledger.Offer(block.times, reading);
    if (ledger.discarded() > discarded) std::this_thread::sleep_for(kRecovery);
    stop = Decide(bench.rule, ledger.kept(), seconds);
  }
  if (ledger.kept().empty())
    throw CudaError(row.op + ": every sample was taken while the card was held back");
  const ClockReading clocks = ledger.MeanClocks();
  row.launches = launches;
  row.samples = static_cast<double>(ledger.kept().size());
  row.discarded = static_cast<double>(ledger.discarded());
  row.time_us = Summarise(ledger.kept());
  row.stop = ToString(stop);
  row.sm_mhz = clocks.effective_mhz;
  row.power_w = clocks.power_w;
  row.reasons = static_cast<double>(clocks.reasons);
  row.samples_us = ledger.kept();
}

}  // namespace moecast::kernels
