// Routed assignments counted per second, from bound rows to the loads of every (layer, rank).
// The "cached" table fits in the last-level cache, the "memory" table does not: each of its rows is
// read once, as in a long run. Figures: docs/performance/replay.md.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/base/rng.h"
#include "sim/replay/replay_source.h"

namespace moecast {
namespace {

struct Model {
  int64_t moe_layers;
  int64_t experts;
  int64_t top_k;
};
constexpr Model kModels[] = {{94, 128, 8}, {58, 256, 8}, {26, 64, 6}, {24, 32, 4}, {48, 512, 10}};

/// A token that picks its experts at random in every layer.
std::vector<uint16_t> RandomToken(const Model& model, RngStream& rng) {
  std::vector<uint16_t> ids;
  for (int64_t layer = 0; layer < model.moe_layers; ++layer) {
    const size_t first = ids.size();
    while (ids.size() < first + static_cast<size_t>(model.top_k)) {
      const auto expert =
          static_cast<uint16_t>(rng.NextBelow(static_cast<uint64_t>(model.experts)));
      const auto layer_ids = ids.begin() + static_cast<int64_t>(first);
      if (std::find(layer_ids, ids.end(), expert) == ids.end()) ids.push_back(expert);
    }
  }
  return ids;
}

/// `tokens` rows drawn from a few hundred distinct ones.
RoutingChunk ChunkFrom(const std::vector<std::vector<uint16_t>>& pool, int64_t tokens,
                       RngStream& rng) {
  RoutingChunk chunk;
  chunk.tokens = tokens;
  for (int64_t i = 0; i < tokens; ++i) {
    const std::vector<uint16_t>& ids = pool[rng.NextBelow(pool.size())];
    chunk.ids.insert(chunk.ids.end(), ids.begin(), ids.end());
  }
  return chunk;
}

RoutingHeader HeaderOf(const Model& model) {
  RoutingHeader header;
  for (int64_t l = 0; l < model.moe_layers; ++l) {
    header.moe_layers.push_back(static_cast<int32_t>(l));
  }
  header.experts = static_cast<int32_t>(model.experts);
  header.top_k = static_cast<int32_t>(model.top_k);
  return header;
}

/// `sequences` with `prefill` and `decode` rows each.
struct Extent {
  int64_t sequences;
  int64_t prefill;
  int64_t decode;
};

std::shared_ptr<const ReplayTable> BuildTable(const Model& model, const Extent& extent) {
  RngStream rng({.seed = 1, .replication = 0}, "bench/replay");
  std::vector<std::vector<uint16_t>> pool;
  for (int i = 0; i < 256; ++i) pool.push_back(RandomToken(model, rng));
  ReplayTable::Builder builder(HeaderOf(model), NativeTopK{});
  for (int64_t s = 0; s < extent.sequences; ++s) {
    for (const RoutingPhase phase : {RoutingPhase::kPrefill, RoutingPhase::kDecode}) {
      const bool prefill = phase == RoutingPhase::kPrefill;
      RoutingChunk chunk = ChunkFrom(pool, prefill ? extent.prefill : extent.decode, rng);
      chunk.sequence = SequenceId(static_cast<uint32_t>(s));
      chunk.phase = phase;
      SIM_CHECK(builder.Add(chunk).ok());
    }
  }
  return std::make_shared<const ReplayTable>(std::move(builder).Finish().value());
}

/// The table of the last benchmark, kept because building takes longer than measuring.
std::shared_ptr<const ReplayTable> TableFor(int64_t model, const Extent& extent) {
  static std::tuple<int64_t, int64_t, int64_t, int64_t> key;
  static std::shared_ptr<const ReplayTable> table;
  const auto wanted = std::tuple(model + 1, extent.sequences, extent.prefill, extent.decode);
  if (wanted != key) {
    table.reset();
    table = BuildTable(kModels[model], extent);
    key = wanted;
  }
  return table;
}

const CounterKernels* KernelsAt(int64_t index) {
  if (index == 0) return &PortableCounterKernels();
  return index == 1 ? Avx2CounterKernels() : Avx512CounterKernels();
}

/// Args: model, batch, expert ranks, sequences, decode rows of each, instruction set.
void CountDecode(benchmark::State& state) {
  const Model& model = kModels[state.range(0)];
  const int64_t batch = state.range(1);
  const int64_t rows = state.range(4);
  const CounterKernels* kernels = KernelsAt(state.range(5));
  if (kernels == nullptr) return state.SkipWithError("this CPU lacks the instruction set");
  const auto table = TableFor(state.range(0), {state.range(3), 0, rows});
  ReplaySource source(table, {.expert_ranks = state.range(2), .tile_rows = 16}, {}, *kernels);
  std::vector<RoutedSpan> spans;
  for (int64_t i = 0; i < batch; ++i) {
    const auto sequence = SequenceId(static_cast<uint32_t>(i % state.range(3)));
    spans.push_back({sequence, RoutingPhase::kDecode, i * 131 % rows, 1});
  }
  std::vector<ExpertLoad> loads(static_cast<size_t>(model.moe_layers * state.range(2)));
  for (auto _ : state) {
    source.Count(spans, 0, loads);
    benchmark::DoNotOptimize(loads.data());
    for (RoutedSpan& span : spans) {
      if (++span.first_row == rows) {
        span.first_row = 0;
        span.sequence = SequenceId(
            static_cast<uint32_t>((span.sequence.value() + static_cast<uint64_t>(batch)) %
                                  static_cast<uint64_t>(state.range(3))));
      }
    }
  }
  const auto tokens = static_cast<double>(batch) * static_cast<double>(state.iterations());
  state.counters["assignments/s"] = benchmark::Counter(
      tokens * static_cast<double>(model.moe_layers * model.top_k), benchmark::Counter::kIsRate);
  state.counters["bytes/s"] =
      benchmark::Counter(tokens * static_cast<double>(table->layout().lines()) * sizeof(Line),
                         benchmark::Counter::kIsRate, benchmark::Counter::OneK::kIs1024);
  state.SetLabel(kernels->name);
}
BENCHMARK(CountDecode)
    ->ArgNames({"model", "batch", "ranks", "sequences", "rows", "isa"})
    ->Args({0, 128, 8, 128, 64, 0})
    ->Args({0, 128, 8, 128, 64, 1})
    ->Args({0, 128, 8, 128, 64, 2})
    ->Args({1, 128, 8, 128, 64, 2})
    ->Args({2, 128, 8, 128, 64, 2})
    ->Args({3, 128, 4, 128, 64, 2})
    ->Args({4, 128, 8, 128, 32, 2})
    ->Args({0, 128, 1, 128, 64, 2})
    ->Args({0, 16, 8, 128, 64, 2})
    ->Args({0, 512, 8, 512, 64, 2})
    ->Args({0, 128, 8, 256, 2048, 0})
    ->Args({0, 128, 8, 256, 2048, 1})
    ->Args({0, 128, 8, 256, 2048, 2})
    ->Args({1, 128, 8, 256, 2048, 2});

/// Args: first row, rows of one prefill span, decode rows beside it.
void CountPrefill(benchmark::State& state) {
  const Model& model = kModels[0];
  const auto table = TableFor(0, {128, 1024, 256});
  ReplaySource source(table, {.expert_ranks = 8, .tile_rows = 16}, {});
  std::vector<RoutedSpan> spans = {
      {SequenceId(0), RoutingPhase::kPrefill, state.range(0), state.range(1)}};
  for (uint32_t i = 0; i < state.range(2); ++i) {
    spans.push_back({SequenceId(i), RoutingPhase::kDecode, 0, 1});
  }
  std::vector<ExpertLoad> loads(static_cast<size_t>(model.moe_layers * 8));
  int64_t step = 0;
  for (auto _ : state) {
    ++step;
    spans.front().sequence = SequenceId(static_cast<uint32_t>(step % 128));
    for (size_t i = 1; i < spans.size(); ++i) spans[i].first_row = step % 256;
    source.Count(spans, 0, loads);
    benchmark::DoNotOptimize(loads.data());
  }
}
BENCHMARK(CountPrefill)
    ->ArgNames({"first", "rows", "decodes"})
    ->Args({0, 1024, 0})
    ->Args({0, 1024, 127})
    ->Args({300, 500, 0});

/// One whole request of 1024 prompt and 256 output rows.
void AddToTotals(benchmark::State& state) {
  const auto table = TableFor(0, {128, 1024, 256});
  ReplaySource source(table, {.expert_ranks = 8, .tile_rows = 16}, {});
  uint32_t request = 0;
  for (auto _ : state) {
    const SequenceId sequence(++request % 128);
    source.AddToTotals({sequence, RoutingPhase::kPrefill, 0, 1024});
    source.AddToTotals({sequence, RoutingPhase::kDecode, 0, 256});
  }
}
BENCHMARK(AddToTotals);

/// A table larger than the memory it may have: 94 layers of 128 experts, a window that moves with
/// 128 decoding sequences. Args: sequences of 1024 rows, MiB that may be resident. The peak
/// resident set is the process's: run this benchmark alone.
void CountFromDisk(benchmark::State& state) {
  const Model& model = kModels[0];
  const int64_t sequences = state.range(0);
  constexpr int64_t kRows = 1024;
  constexpr int64_t kBatch = 128;
  RngStream rng({.seed = 1, .replication = 0}, "bench/replay");
  std::vector<std::vector<uint16_t>> pool;
  for (int i = 0; i < 256; ++i) pool.push_back(RandomToken(model, rng));
  ReplayTable::Builder builder(HeaderOf(model), NativeTopK{}, state.range(1) << 20);
  for (int64_t s = 0; s < sequences; ++s) {
    RoutingChunk chunk = ChunkFrom(pool, kRows, rng);
    chunk.sequence = SequenceId(static_cast<uint32_t>(s));
    chunk.phase = RoutingPhase::kDecode;
    SIM_CHECK(builder.Add(chunk).ok());
  }
  const auto table = std::make_shared<const ReplayTable>(std::move(builder).Finish().value());
  ReplaySource source(table, {.expert_ranks = 8, .tile_rows = 16}, {});
  std::vector<ExpertLoad> loads(static_cast<size_t>(model.moe_layers * 8));
  std::vector<RoutedSpan> spans(kBatch, {SequenceId(0), RoutingPhase::kDecode, 0, 1});
  int64_t step = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < kBatch; ++i) {
      RoutedSpan& span = spans[static_cast<size_t>(i)];
      const int64_t at = step + i * 37;
      span.first_row = at % kRows;
      span.sequence = SequenceId(static_cast<uint32_t>((at / kRows * kBatch + i) % sequences));
    }
    ++step;
    source.Count(spans, 0, loads);
    benchmark::DoNotOptimize(loads.data());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto tokens = static_cast<double>(kBatch) * static_cast<double>(state.iterations());
  state.counters["assignments/s"] = benchmark::Counter(
      tokens * static_cast<double>(model.moe_layers * model.top_k), benchmark::Counter::kIsRate);
  state.counters["table MiB"] = static_cast<double>(table->layout().lines()) * sizeof(Line) *
                                static_cast<double>(sequences * kRows) / (1 << 20);
  state.counters["peak resident MiB"] = static_cast<double>(usage.ru_maxrss) / 1024;
}
BENCHMARK(CountFromDisk)->Args({2048, 240})->MinTime(3);

/// Items are assignments.
void BuildReplayTable(benchmark::State& state) {
  const Model& model = kModels[0];
  RngStream rng({.seed = 1, .replication = 0}, "bench/replay");
  std::vector<std::vector<uint16_t>> pool;
  for (int i = 0; i < 256; ++i) pool.push_back(RandomToken(model, rng));
  const RoutingChunk chunk = ChunkFrom(pool, 4096, rng);
  for (auto _ : state) {
    ReplayTable::Builder builder(HeaderOf(model), NativeTopK{});
    SIM_CHECK(builder.Add(chunk).ok());
    benchmark::DoNotOptimize(std::move(builder).Finish().value());
  }
  state.SetItemsProcessed(state.iterations() * std::ssize(chunk.ids));
}
BENCHMARK(BuildReplayTable);

}  // namespace
}  // namespace moecast
