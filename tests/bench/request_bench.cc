// Speed of the request sources: bytes per second of each trace format, nanoseconds per request of
// each synthetic process. Traces are written to a temporary folder first.
#include <benchmark/benchmark.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include "sim/base/files.h"
#include "traces/request_source.h"

namespace moecast {
namespace {

constexpr int kRows = 200'000;
constexpr int kMooncakeRows = 50'000;
constexpr int kBlocksOfPrompt = 24;  // the mean of the public conversation trace

struct TraceFile {
  RequestTraceFormat format = RequestTraceFormat::kMoecastCsv;
  std::string name;
  std::string header;
  int rows = kRows;
  std::function<std::string(int row)> row;
  bool compressed = false;
};

std::string Compressed(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

// Reads the whole trace once an iteration; bytes are those of the text, also when it is compressed.
void ReadTrace(benchmark::State& state, const TraceFile& file) {
  std::string text = file.header;
  for (int i = 0; i < file.rows; ++i) text += file.row(i);
  const auto path = std::filesystem::temp_directory_path() /
                    ("moecast-bench-" + std::to_string(getpid()) + "-" + file.name);
  const auto written = WriteFileAtomically(path, file.compressed ? Compressed(text) : text);
  if (!written.ok()) throw std::runtime_error(ToString(written.errors()));
  for (auto _ : state) {
    TraceWorkload workload;
    workload.format = file.format;
    workload.path = path;
    auto source = RequestSource::Open(workload, Seed{});
    if (!source.ok()) throw std::runtime_error(ToString(source.errors()));
    Request request;
    while (source->Next(request)) benchmark::DoNotOptimize(request);
    if (!source->status().ok()) throw std::runtime_error(ToString(source->status().errors()));
  }
  std::filesystem::remove(path);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.SetItemsProcessed(state.iterations() * file.rows);
}

std::string MoecastRow(int i) {
  return std::to_string(i / 10) + "." + std::to_string(i % 10) + "34567," +
         std::to_string(i % 4000 + 1) + "," + std::to_string(i % 800 + 1) + "\n";
}

std::string AzureRow(int i) {
  char row[64];
  std::snprintf(row, sizeof row, "2023-11-16 %02d:%02d:%02d.%02d12345,%d,%d\r\n", i / 360000,
                i / 6000 % 60, i / 100 % 60, i % 100, i % 4000 + 1, i % 800 + 1);
  return row;
}

std::string BurstGptRow(int i) {
  return std::to_string(i) + ".0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4," +
         std::to_string(i % 4000 + 1) + "," + std::to_string(i % 800) + "," +
         std::to_string(i % 4000 + i % 800 + 1) + ",Conversation log\n";
}

std::string MooncakeRow(int i) {
  std::string row = "{\"timestamp\": " + std::to_string(i * 3) +
                    ", \"input_length\": " + std::to_string(kBlocksOfPrompt * 512) +
                    ", \"output_length\": " + std::to_string(i % 800 + 1) + ", \"hash_ids\": [";
  for (int block = 0; block < kBlocksOfPrompt; ++block) {
    row += (block == 0 ? "" : ", ") + std::to_string(i * kBlocksOfPrompt + block);
  }
  return row + "]}\n";
}

void BM_ReadMoecastCsv(benchmark::State& state) {
  ReadTrace(state, {.format = RequestTraceFormat::kMoecastCsv,
                    .name = "moecast.csv",
                    .header = "arrival_s,input_tokens,output_tokens\n",
                    .row = MoecastRow});
}
BENCHMARK(BM_ReadMoecastCsv)->Unit(benchmark::kMillisecond);

void BM_ReadMoecastCsvZst(benchmark::State& state) {
  ReadTrace(state, {.format = RequestTraceFormat::kMoecastCsv,
                    .name = "moecast.csv.zst",
                    .header = "arrival_s,input_tokens,output_tokens\n",
                    .row = MoecastRow,
                    .compressed = true});
}
BENCHMARK(BM_ReadMoecastCsvZst)->Unit(benchmark::kMillisecond);

void BM_ReadAzureCsv(benchmark::State& state) {
  ReadTrace(state, {.format = RequestTraceFormat::kAzureCsv,
                    .name = "azure.csv",
                    .header = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n",
                    .row = AzureRow});
}
BENCHMARK(BM_ReadAzureCsv)->Unit(benchmark::kMillisecond);

void BM_ReadBurstGptCsv(benchmark::State& state) {
  ReadTrace(state, {.format = RequestTraceFormat::kBurstGptCsv,
                    .name = "burstgpt.csv",
                    .header = "Timestamp,Session ID,Elapsed time,Model,Request tokens,"
                              "Response tokens,Total tokens,Log Type\n",
                    .row = BurstGptRow});
}
BENCHMARK(BM_ReadBurstGptCsv)->Unit(benchmark::kMillisecond);

void BM_ReadMooncakeJsonl(benchmark::State& state) {
  ReadTrace(state, {.format = RequestTraceFormat::kMooncakeJsonl,
                    .name = "mooncake.jsonl",
                    .header = "",
                    .rows = kMooncakeRows,
                    .row = MooncakeRow});
}
BENCHMARK(BM_ReadMooncakeJsonl)->Unit(benchmark::kMillisecond);

// One iteration is one request.
void DrawRequests(benchmark::State& state, const SyntheticWorkload& workload) {
  auto source = RequestSource::Open(workload, Seed{.seed = 1});
  if (!source.ok()) throw std::runtime_error(ToString(source.errors()));
  Request request;
  for (auto _ : state) {
    source->Next(request);
    benchmark::DoNotOptimize(request);
  }
}

const Length kFixed = FixedLength{.tokens = 1024};
const Length kLognormal =
    LognormalLength{.mean_tokens = 1024, .cv = 1, .min_tokens = 1, .max_tokens = 32768};
const Length kUniform = UniformLength{.min_tokens = 1, .max_tokens = 2048};

void BM_ClosedLoopFixed(benchmark::State& state) {
  DrawRequests(state, {.arrivals = ClosedLoop{64}, .input = kFixed, .output = kFixed});
}
BENCHMARK(BM_ClosedLoopFixed);

void BM_PoissonFixed(benchmark::State& state) {
  DrawRequests(state, {.arrivals = PoissonArrivals{100}, .input = kFixed, .output = kFixed});
}
BENCHMARK(BM_PoissonFixed);

void BM_PoissonLognormal(benchmark::State& state) {
  DrawRequests(state,
               {.arrivals = PoissonArrivals{100}, .input = kLognormal, .output = kLognormal});
}
BENCHMARK(BM_PoissonLognormal);

void BM_GammaUniform(benchmark::State& state) {
  DrawRequests(state, {.arrivals = GammaArrivals{.rate_per_s = 100, .cv = 2},
                       .input = kUniform,
                       .output = kUniform});
}
BENCHMARK(BM_GammaUniform);

void BM_OnOffLognormal(benchmark::State& state) {
  DrawRequests(
      state,
      {.arrivals = OnOffArrivals{.on_rate_per_s = 200, .off_rate_per_s = 10, .on_s = 1, .off_s = 3},
       .input = kLognormal,
       .output = kLognormal});
}
BENCHMARK(BM_OnOffLognormal);

}  // namespace
}  // namespace moecast
