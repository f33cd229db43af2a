// Capture importers: bytes of capture per second, from a file in the page cache to a committed
// trace. Ids are synthesised, so that compression works as hard as on real routing.
// Figures: docs/performance/import.md.
#include <benchmark/benchmark.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/files.h"
#include "traces/import/capture.h"
#include "traces/routing_synthesis.h"

namespace moecast {
namespace {

constexpr int32_t kLayers = 26;
constexpr int32_t kExperts = 64;
constexpr int32_t kTopK = 6;
constexpr int64_t kSequences = 256;
constexpr int64_t kTokens = 1024;  // of a sequence

CaptureModel Model() {
  CaptureModel model{.name = "bench", .experts = kExperts, .top_k = kTopK, .layers = kLayers};
  for (int32_t layer = 0; layer < kLayers; ++layer) model.moe_layers.push_back(layer);
  return model;
}

/// [token][layer][k] of all sequences.
const std::vector<uint16_t>& Ids() {
  static const std::vector<uint16_t> ids = [] {
    RoutingHeader header{.source = "bench", .model = "", .moe_layers = Model().moe_layers};
    header.experts = kExperts;
    header.top_k = kTopK;
    RoutingSynthesiser synthesiser({.popularity_spread = 0.7,
                                    .topics = 32,
                                    .topic_strength = 0.1,
                                    .stickiness = 0.5,
                                    .score_temperature = 1.8,
                                    .sequences = kSequences,
                                    .prefill_tokens = kTokens,
                                    .decode_tokens = 0},
                                   header, Seed{1});
    std::vector<uint16_t> all;
    RoutingChunk chunk;
    while (synthesiser.Next(chunk)) all.insert(all.end(), chunk.ids.begin(), chunk.ids.end());
    return all;
  }();
  return ids;
}

template <class T>
std::string Raw(const uint16_t* ids, size_t count) {
  std::string bytes;
  bytes.reserve(count * sizeof(T));
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<T>(ids[i]);
    char raw[sizeof(T)];
    std::memcpy(raw, &id, sizeof(T));
    bytes.append(raw, sizeof(T));
  }
  return bytes;
}

std::string NpyBytes(const std::string& descr, int64_t tokens, const std::string& data) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" +
                       std::to_string(tokens) + ", " + std::to_string(kLayers) + ", " +
                       std::to_string(kTopK) + "), }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size());
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

std::string Safetensors() {
  const int64_t tokens = kSequences * kTokens;
  const auto layer_bytes = static_cast<size_t>(tokens * kTopK) * sizeof(int32_t);
  std::string header = "{";
  std::string data;
  for (int32_t layer = 0; layer < kLayers; ++layer) {
    header += (layer == 0 ? "" : ",") + std::string("\"0_") + std::to_string(layer) +
              R"(":{"dtype":"I32","shape":[)" + std::to_string(tokens) + "," +
              std::to_string(kTopK) + R"(],"data_offsets":[)" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + layer_bytes) + "]}";
    for (int64_t token = 0; token < tokens; ++token) {
      data += Raw<int32_t>(&Ids()[static_cast<size_t>((token * kLayers + layer) * kTopK)], kTopK);
    }
  }
  header += "}";
  const uint64_t size = header.size();
  std::string length(sizeof(size), '\0');
  std::memcpy(length.data(), &size, sizeof(size));
  return length + header + data;
}

std::string Base64(const std::string& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) {
      word = word << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0);
    }
    for (int shift = 18; shift >= 0; shift -= 6) text += kDigits[word >> shift & 63];
  }
  for (size_t i = 0; i < (3 - bytes.size() % 3) % 3; ++i) text[text.size() - 1 - i] = '=';
  return text;
}

std::string NestedLists(const uint16_t* ids) {
  std::string text = "[";
  for (int64_t token = 0; token < kTokens; ++token) {
    text += token == 0 ? "[" : ", [";
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      text += layer == 0 ? "[" : ", [";
      for (int64_t rank = 0; rank < kTopK; ++rank) {
        text += (rank == 0 ? "" : ", ") + std::to_string(*ids++);
      }
      text += "]";
    }
    text += "]";
  }
  return text + "]";
}

/// A vLLM response per sequence, one per line.
template <class Rows>
std::string Responses(const Rows& rows) {
  std::string text;
  constexpr auto kSequenceIds = static_cast<size_t>(kTokens) * kLayers * kTopK;
  for (size_t s = 0; s < static_cast<size_t>(kSequences); ++s) {
    text += R"({"id": "r", "usage": {"prompt_tokens": 512, "completion_tokens": 513}, "choices": )"
            R"([{"routed_experts": )" +
            rows(&Ids()[s * kSequenceIds], kSequenceIds) + "}]}\n";
  }
  return text;
}

/// Writes the capture once and imports it again and again.
void Import(benchmark::State& state, const std::string& name, const std::string& bytes) {
  const auto folder = std::filesystem::temp_directory_path();
  const std::filesystem::path capture = folder / ("moecast-import-bench-" + name);
  const std::filesystem::path out = folder / "moecast-import-bench.moetrace";
  SIM_CHECK(WriteFileAtomically(capture, bytes).ok());
  for (auto _ : state) {
    const auto report = ImportCapture({capture}, {.model = Model()}, out);
    SIM_CHECK(report.ok());
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size()) * state.iterations());
  std::filesystem::remove(capture);
  std::filesystem::remove(out);
}

void NpyUint8(benchmark::State& state) {
  Import(state, "u8.npy",
         NpyBytes("|u1", kSequences * kTokens, Raw<uint8_t>(Ids().data(), Ids().size())));
}
BENCHMARK(NpyUint8)->Unit(benchmark::kMillisecond);

void NpyInt32(benchmark::State& state) {
  Import(state, "i32.npy",
         NpyBytes("<i4", kSequences * kTokens, Raw<int32_t>(Ids().data(), Ids().size())));
}
BENCHMARK(NpyInt32)->Unit(benchmark::kMillisecond);

void SafetensorsInt32(benchmark::State& state) { Import(state, "rank0_raw", Safetensors()); }
BENCHMARK(SafetensorsInt32)->Unit(benchmark::kMillisecond);

void JsonBase64(benchmark::State& state) {
  Import(state, "base64.jsonl", Responses([](const uint16_t* ids, size_t count) {
           return "\"" + Base64(NpyBytes("|u1", kTokens, Raw<uint8_t>(ids, count))) + "\"";
         }));
}
BENCHMARK(JsonBase64)->Unit(benchmark::kMillisecond);

void JsonLists(benchmark::State& state) {
  Import(state, "lists.jsonl",
         Responses([](const uint16_t* ids, size_t) { return NestedLists(ids); }));
}
BENCHMARK(JsonLists)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace moecast
