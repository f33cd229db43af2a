// Requests simulated per second of one core, end to end, and the memory a run takes.
// Figures: docs/performance/engine.md.
#include <benchmark/benchmark.h>

#include <fstream>
#include <string>
#include <utility>

#include "sim/engine/simulator.h"
#include "tests/bench/bench_models.h"

namespace moecast::bench {
namespace {

void ReportRun(benchmark::State& state, const RunResult& result) {
  const auto requests = static_cast<double>(result.summary.finished);
  const auto steps = static_cast<double>(result.summary.steps);
  const auto runs = static_cast<double>(state.iterations());
  state.counters["requests/s"] = benchmark::Counter(requests * runs, benchmark::Counter::kIsRate);
  state.counters["steps/s"] = benchmark::Counter(steps * runs, benchmark::Counter::kIsRate);
  state.counters["events/s"] =
      benchmark::Counter(static_cast<double>(result.events) * runs, benchmark::Counter::kIsRate);
  state.counters["s/step"] =
      benchmark::Counter(steps * runs, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// A 32B dense model, 1024/128, closed loop of 64. Arg: requests.
void DenseClosedLoop(benchmark::State& state) {
  const ModelSpec model = DenseModel();
  RunResult result;
  for (auto _ : state) {
    SimulatorInputs inputs = DenseInputs(model);
    inputs.stop.requests = static_cast<uint64_t>(state.range(0));
    result = Simulator(std::move(inputs)).Run().value();
  }
  ReportRun(state, result);
}
BENCHMARK(DenseClosedLoop)
    ->ArgName("requests")
    ->Arg(16'384)
    ->Arg(131'072)
    ->Unit(benchmark::kMillisecond);

/// A 94-layer MoE model on eight GPUs, 1024/2048, closed loop of 128, every token's routing
/// replayed at every layer. Args: requests, expert-parallel ranks, trace sequences.
void MoeReplayClosedLoop(benchmark::State& state) {
  const ModelSpec model = MoeModel();
  const Parallelism parallelism{.tensor = 8, .expert = state.range(1)};
  const std::shared_ptr<const ReplayTable> table = RoutingOf(model, state.range(2));
  RunResult result;
  for (auto _ : state) {
    SimulatorInputs inputs;
    inputs.engine = ServerDefaults();
    inputs.kv_tokens_per_group = 1'000'000;
    inputs.parallelism = parallelism;
    inputs.moe_layers = model.moe_layer_count();
    inputs.cost = CostOf(model, parallelism);
    inputs.routing =
        ReplaySource(table, {.expert_ranks = parallelism.expert, .tile_rows = 64}, Seed{.seed = 1});
    inputs.requests = ClosedLoopOf(128, {.input = 1024, .output = 2048});
    inputs.stop.requests = static_cast<uint64_t>(state.range(0));
    result = Simulator(std::move(inputs)).Run().value();
  }
  ReportRun(state, result);
}
BENCHMARK(MoeReplayClosedLoop)
    ->ArgNames({"requests", "ranks", "sequences"})
    ->Args({4'096, 1, 64})
    ->Args({4'096, 8, 64})
    ->Unit(benchmark::kMillisecond);

/// The dense shape on many replicas: a step costs the same however many there are.
/// Args: replicas, requests per replica.
void ManyReplicas(benchmark::State& state) {
  const ModelSpec model = DenseModel();
  RunResult result;
  for (auto _ : state) {
    SimulatorInputs inputs = DenseInputs(model);
    inputs.replicas = state.range(0);
    inputs.requests = ClosedLoopOf(64 * state.range(0), {.input = 1024, .output = 128});
    inputs.stop.requests = static_cast<uint64_t>(state.range(0) * state.range(1));
    result = Simulator(std::move(inputs)).Run().value();
  }
  ReportRun(state, result);
}
BENCHMARK(ManyReplicas)
    ->ArgNames({"replicas", "requests"})
    ->Args({1, 4096})
    ->Args({1000, 256})
    ->Unit(benchmark::kMillisecond);

/// Highest resident set of this process since the last call, in MiB (Linux).
double PeakMebibytes() {
  double kibibytes = 0;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> kibibytes;
  }
  std::ofstream("/proc/self/clear_refs") << "5";
  return kibibytes / 1024.0;
}

RequestSource TinyPoisson() {
  SyntheticWorkload workload;
  workload.arrivals = PoissonArrivals{.rate_per_s = 50'000};
  workload.input = UniformLength{.min_tokens = 1, .max_tokens = 8};
  workload.output = UniformLength{.min_tokens = 1, .max_tokens = 7};
  return RequestSource::Open(workload, Seed{.seed = 1}).value();
}

/// Streamed requests of a tiny shape at 80 % load: memory must not grow with their number.
void StreamedMemory(benchmark::State& state) {
  PeakMebibytes();
  RunResult result;
  for (auto _ : state) {
    SimulatorInputs inputs;
    inputs.engine = ServerDefaults();
    inputs.kv_tokens_per_group = 1'000'000;
    inputs.cost = AffineCost{.per_step = std::chrono::milliseconds(1)};
    inputs.requests = TinyPoisson();
    inputs.stop.requests = static_cast<uint64_t>(state.range(0));
    result = Simulator(std::move(inputs)).Run().value();
  }
  ReportRun(state, result);
  state.counters["peak_MiB"] = PeakMebibytes();
  state.SetLabel(result.summary.verdict == Verdict::kStable ? "stable" : "not stable");
}
BENCHMARK(StreamedMemory)
    ->ArgName("requests")
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Arg(10'000'000)
    ->Arg(20'000'000)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace moecast::bench
