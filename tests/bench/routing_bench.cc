// Routing traces: ids synthesised, written and read per second.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/check.h"
#include "traces/routing_reader.h"
#include "traces/routing_rows.h"
#include "traces/routing_synthesis.h"
#include "traces/routing_writer.h"
#include "traces/twin/parametric_twin.h"

namespace moecast {
namespace {

struct Shape {
  int32_t layers;
  int32_t experts;
  int32_t top_k;
};
constexpr Shape kDeepSeekV2Lite = {26, 64, 6};
constexpr Shape kLongDecode = {94, 128, 8};

RoutingHeader MakeHeader(const Shape& shape, bool has_scores) {
  RoutingHeader header;
  header.source = "bench";
  for (int32_t layer = 0; layer < shape.layers; ++layer) header.moe_layers.push_back(layer);
  header.experts = shape.experts;
  header.top_k = shape.top_k;
  header.has_scores = has_scores;
  return header;
}

SyntheticRouting Spec(int64_t sequences) {
  return {.popularity_spread = 0.7,
          .topics = 32,
          .topic_strength = 0.1,
          .stickiness = 0.5,
          .score_temperature = 1.8,
          .sequences = sequences,
          .prefill_tokens = 256,
          .decode_tokens = 256};
}

/// A trace file that is gone when the benchmark ends.
class Scratch {
 public:
  Scratch() : path_(std::filesystem::temp_directory_path() / "moecast-routing-bench.moetrace") {}
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::vector<RoutingChunk> Chunks(const RoutingHeader& header, int64_t sequences) {
  RoutingSynthesiser synthesiser(Spec(sequences), header, Seed{1});
  std::vector<RoutingChunk> chunks;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) chunks.push_back(chunk);
  return chunks;
}

int64_t WriteAll(const RoutingHeader& header, const std::vector<RoutingChunk>& chunks,
                 const std::filesystem::path& path) {
  auto writer = RoutingWriter::Create(path, header);
  int64_t ids = 0;
  for (const RoutingChunk& chunk : chunks) {
    SIM_CHECK(writer->Add(chunk).ok());
    ids += static_cast<int64_t>(chunk.ids.size());
  }
  SIM_CHECK(writer->Commit().ok());
  return ids;
}

void Synthesise(benchmark::State& state, const Shape& shape, bool has_scores) {
  const RoutingHeader header = MakeHeader(shape, has_scores);
  int64_t rows = 0;
  for (auto _ : state) {
    RoutingSynthesiser synthesiser(Spec(state.range(0)), header, Seed{1});
    RoutingChunk chunk;
    while (synthesiser.Next(chunk)) rows += chunk.tokens * shape.layers;
    benchmark::DoNotOptimize(chunk.ids.data());
  }
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(Synthesise, v2_lite, kDeepSeekV2Lite, true)->Arg(128);
BENCHMARK_CAPTURE(Synthesise, v2_lite_ids_only, kDeepSeekV2Lite, false)->Arg(128);
BENCHMARK_CAPTURE(Synthesise, long_decode, kLongDecode, false)->Arg(128);

/// A fitted twin's parts: a topic for each sequence, kinds of token, groups.
RoutingTwin LivelyTwin(const Shape& shape, int64_t sequences) {
  RoutingTwin twin = TwinFromParameters(Spec(sequences), MakeHeader(shape, false), {1});
  twin.topics = 0;
  twin.kinds = {.count = 8, .spread = 2, .stickiness = 0.5};
  twin.groups = {.size = 8, .affinity = std::vector<double>(twin.stickiness.size(), 0.5)};
  return twin;
}

void SynthesiseTwin(benchmark::State& state, const Shape& shape) {
  int64_t tokens = 0;
  for (auto _ : state) {
    RoutingSynthesiser synthesiser(LivelyTwin(shape, state.range(0)), {1});
    RoutingChunk chunk;
    while (synthesiser.Next(chunk)) tokens += chunk.tokens;
  }
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(tokens * shape.layers), benchmark::Counter::kIsRate);
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(SynthesiseTwin, v2_lite, kDeepSeekV2Lite)->Arg(128);
BENCHMARK_CAPTURE(SynthesiseTwin, long_decode, kLongDecode)->Arg(128);

void Write(benchmark::State& state, const Shape& shape) {
  const Scratch scratch;
  const RoutingHeader header = MakeHeader(shape, false);
  const std::vector<RoutingChunk> chunks = Chunks(header, 64);
  int64_t ids = 0;
  for (auto _ : state) ids += WriteAll(header, chunks, scratch.path());
  state.counters["ids/s"] =
      benchmark::Counter(static_cast<double>(ids), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(Write, v2_lite, kDeepSeekV2Lite);

void Read(benchmark::State& state, const Shape& shape) {
  const Scratch scratch;
  const RoutingHeader header = MakeHeader(shape, false);
  WriteAll(header, Chunks(header, 64), scratch.path());
  int64_t ids = 0;
  for (auto _ : state) {
    auto reader = RoutingReader::Open(scratch.path());
    RoutingChunk chunk;
    while (reader->Next(chunk).value()) ids += static_cast<int64_t>(chunk.ids.size());
  }
  state.counters["ids/s"] =
      benchmark::Counter(static_cast<double>(ids), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(Read, v2_lite, kDeepSeekV2Lite);
BENCHMARK_CAPTURE(Read, long_decode, kLongDecode);

void Check(benchmark::State& state, const Shape& shape) {
  const RoutingHeader header = MakeHeader(shape, false);
  const std::vector<RoutingChunk> chunks = Chunks(header, 4);
  int64_t ids = 0;
  for (auto _ : state) {
    for (const RoutingChunk& chunk : chunks) {
      SIM_CHECK(!FindProblem(chunk.ids, shape.experts, shape.top_k));
      ids += static_cast<int64_t>(chunk.ids.size());
    }
  }
  state.counters["ids/s"] =
      benchmark::Counter(static_cast<double>(ids), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(Check, v2_lite, kDeepSeekV2Lite);

}  // namespace
}  // namespace moecast
