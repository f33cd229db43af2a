// Suite of prefill attention: new tokens alone over head shapes, lengths and batches, chunks over a
// past in pages of several schemes, and the short chunks that prompts of a chat are cut into, alike
// and of mixed lengths.
#include "kernels/bench/suite_attend_prefill.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "kernels/bench/attend_prefill_bench.h"
#include "kernels/bench/drawn_lengths.h"
#include "kernels/bench/kv_rows.h"

namespace moecast::kernels {
namespace {

struct HeadShape {
  const char* name;
  const char* op;
  AttendPrefillShape shape;
};
constexpr HeadShape kHeadShapes[] = {
    {"q32 kv8 d128",
     "attend_prefill",
     {.query_heads = 32, .kv_heads = 8, .key_dim = 128, .value_dim = 128}},
    {"q32 kv4 d128",
     "attend_prefill",
     {.query_heads = 32, .kv_heads = 4, .key_dim = 128, .value_dim = 128}},
    {"q64 kv8 d64",
     "attend_prefill",
     {.query_heads = 64, .kv_heads = 8, .key_dim = 64, .value_dim = 64}},
    {"q128 kv128 d192",
     "mla_prefill",
     {.query_heads = 128, .kv_heads = 128, .key_dim = 192, .value_dim = 128}},
};
// OLMoE's, of which short chunks alone are measured.
constexpr HeadShape kNarrowHeads = {
    "q16 kv16 d128",
    "attend_prefill",
    {.query_heads = 16, .kv_heads = 16, .key_dim = 128, .value_dim = 128}};
// DeepSeek-V2-Lite's latents, expanded: likewise.
constexpr HeadShape kNarrowLatents = {
    "q16 kv16 d192",
    "mla_prefill",
    {.query_heads = 16, .kv_heads = 16, .key_dim = 192, .value_dim = 128}};
constexpr int32_t kSlidingWindow = 128;  // of every other layer of gpt-oss, which is q64 kv8 d64
constexpr std::string_view kPastSchemes[] = {"bf16", "fp8_e4m3", "int8", "int4", "kivi4", "kivi2"};

struct Rows {
  const SuiteContext& context;
  std::vector<KvMeasurement> measured;

  // Launches of milliseconds are long enough alone.
  void Append(const HeadShape& heads, const std::string& regime, std::vector<ChunkLength> chunks,
              const FittedScheme& scheme) {
    constexpr ReplayPlan kPlan{.min_launches = 1, .period = 1, .max_periods = 16, .replay_us = 300};
    const AttendPrefillShape& s = heads.shape;
    KvMeasurement row = DescribeCache(
        context, scheme, {.kv_heads = s.kv_heads, .head_dim = s.key_dim},
        {.sequences = static_cast<int64_t>(chunks.size()), .tokens = chunks.front().past});
    row.op = heads.op;
    row.model = heads.name;
    row.regime = regime;
    row.cached_tokens = row.max_context = 0;
    for (const ChunkLength& chunk : chunks) {
      row.new_tokens += chunk.tokens;
      row.cached_tokens += chunk.past;
      row.max_context = std::max<double>(row.max_context, chunk.past + chunk.tokens);
    }
    row.query_heads = s.query_heads;
    row.window = s.window;
    const AttendPrefillCase attend{
        .shape = s, .chunks = std::move(chunks), .scheme = scheme.scheme};
    const Traffic traffic = AttendPrefillTraffic(attend);
    row.bytes = traffic.bytes;
    row.flops = traffic.flops;
    const AttendPrefillBench bench(attend, context.bench.stream);
    AppendMeasured(
        context, kPlan, [&](int) { bench.Launch(context.bench.stream); }, std::move(row), measured);
  }
  void AppendEven(const HeadShape& heads, int32_t sequences, const ChunkLength& chunk,
                  const FittedScheme& scheme) {
    Append(heads, "even", std::vector<ChunkLength>(static_cast<size_t>(sequences), chunk), scheme);
  }
};

void AppendNewTokens(const HeadShape& heads, const FittedScheme& bf16, Rows& rows) {
  for (const int32_t tokens : {128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}) {
    // Both ends of the range for the first shape alone.
    if (&heads != &kHeadShapes[0] && (tokens < 512 || tokens > 16384)) continue;
    for (const int32_t sequences : {1, 8}) {
      if (sequences * tokens <= 32768) rows.AppendEven(heads, sequences, {.tokens = tokens}, bf16);
    }
  }
}

HeadShape Sliding(HeadShape heads) {
  heads.shape.window = kSlidingWindow;
  return heads;
}

void AppendChunks(const HeadShape& heads, const FittedScheme& scheme, Rows& rows) {
  for (const int32_t past : {2048, 8192, 32768, 131072}) {
    for (const int32_t tokens : {256, 2048})
      rows.AppendEven(heads, 1, {.tokens = tokens, .past = past}, scheme);
  }
  for (const int32_t past : {4096, 16384}) {
    for (const int32_t tokens : {512, 1024})
      rows.AppendEven(heads, 1, {.tokens = tokens, .past = past}, scheme);
  }
}

// Chunks of the lengths in which prompts of a chat come.
void AppendShort(const HeadShape& heads, const FittedScheme& scheme,
                 const std::vector<int32_t>& batches, Rows& rows) {
  for (const int32_t past : {256, 1024, 4096}) {
    for (const int32_t tokens : {64, 256, 512}) {
      for (const int32_t sequences : batches)
        rows.AppendEven(heads, sequences, {.tokens = tokens, .past = past}, scheme);
    }
  }
}

// Between those, over a past of few bits.
void AppendShortBetween(const HeadShape& heads, const FittedScheme& scheme, Rows& rows) {
  for (const int32_t past : {640, 2560, 8192}) {
    for (const int32_t tokens : {128, 384, 1000})
      rows.AppendEven(heads, 1, {.tokens = tokens, .past = past}, scheme);
  }
}

void AppendShortAlone(const HeadShape& heads, const FittedScheme& bf16,
                      const std::vector<int32_t>& chunks, const std::vector<int32_t>& batches,
                      Rows& rows) {
  for (const int32_t tokens : chunks) {
    for (const int32_t sequences : batches)
      rows.AppendEven(heads, sequences, {.tokens = tokens}, bf16);
  }
}

// Chunks of drawn lengths in one launch, as steps have them.
std::vector<ChunkLength> MixedChunks(int32_t sequences, int32_t mean) {
  constexpr double kDeviation = 0.5;  // of the logarithm
  std::vector<ChunkLength> chunks;
  for (const int32_t tokens : LognormalLengths(sequences, mean, kDeviation))
    chunks.push_back({.tokens = tokens});
  return chunks;
}

void AppendMixedAlone(const HeadShape& heads, const FittedScheme& bf16, Rows& rows) {
  constexpr int32_t kMostTokens = 4096;
  for (const int32_t mean : {64, 128, 256, 512, 1024, 2048}) {
    for (const int32_t sequences : {2, 4, 8, 16}) {
      if (sequences * mean <= kMostTokens)
        rows.Append(heads, "lognormal", MixedChunks(sequences, mean), bf16);
    }
  }
}

// A step goes on with one prompt of which much or little is cached, and begins others.
void AppendMixedPast(const HeadShape& heads, const FittedScheme& scheme, Rows& rows) {
  for (const int32_t mean : {128, 256, 512}) {
    for (const int32_t sequences : {2, 4, 8}) {
      for (const int32_t past : {2 * mean, mean / 4}) {
        std::vector<ChunkLength> chunks = MixedChunks(sequences, mean);
        chunks.front().past = past;
        rows.Append(heads, "lognormal", std::move(chunks), scheme);
      }
    }
  }
}

// Over a past shorter than themselves: of a prompt whose first chunk filled up a step.
void AppendLittlePast(const HeadShape& heads, const FittedScheme& scheme, Rows& rows) {
  for (const int32_t past : {32, 128}) {
    for (const int32_t tokens : {384, 1000, 2000})
      rows.AppendEven(heads, 1, {.tokens = tokens, .past = past}, scheme);
  }
}

const NamedScheme& SchemeOf(const SuiteContext& context, std::string_view name) {
  for (const NamedScheme& scheme : context.kv_schemes)
    if (scheme.name == name) return scheme;
  throw std::runtime_error("attend_prefill: kv_schemes.csv has no scheme " + std::string(name));
}

// bf16, alone and over a past.
void AppendShortRows(const HeadShape& heads, const std::vector<int32_t>& chunks, Rows& rows) {
  const FittedScheme bf16 = Fitted(SchemeOf(rows.context, "bf16"), heads.shape.key_dim);
  AppendShortAlone(heads, bf16, chunks, {1, 4}, rows);
  AppendShort(heads, bf16, {1, 4}, rows);
}

}  // namespace

std::vector<KvMeasurement> RunAttendPrefillSuite(const SuiteContext& context) {
  SuiteContext steady = UnderLoad(context);
  steady.bench.rule = {.min_samples = 20,
                       .max_samples = 60,
                       .max_iqr_ratio = 0.01,
                       .max_relative_error = 0.003,
                       .max_seconds = 0.15};
  Rows rows{.context = steady, .measured = {}};
  const auto fitted = [&context](const HeadShape& heads, std::string_view name) {
    return Fitted(SchemeOf(context, name), heads.shape.key_dim);
  };
  for (const HeadShape& heads : kHeadShapes) AppendNewTokens(heads, fitted(heads, "bf16"), rows);
  const HeadShape sliding = Sliding(kHeadShapes[2]);
  for (const int32_t tokens : {2048, 16384})
    rows.AppendEven(sliding, 1, {.tokens = tokens}, fitted(sliding, "bf16"));
  for (const std::string_view name : kPastSchemes)
    AppendChunks(kHeadShapes[0], fitted(kHeadShapes[0], name), rows);
  AppendShortRows(kNarrowHeads, {32, 128, 192, 256, 320, 448, 512, 704, 1024, 1472, 2048}, rows);
  for (const HeadShape& heads : {kHeadShapes[1], kHeadShapes[2], sliding})
    AppendShortRows(heads, {32, 128, 192, 256, 320, 384, 448, 704, 1472}, rows);
  const HeadShape& wide_latents = kHeadShapes[3];
  AppendShortAlone(kNarrowLatents, fitted(kNarrowLatents, "bf16"),
                   {64, 128, 192, 256, 320, 448, 512, 704, 1024, 1472, 2048}, {1, 4, 8}, rows);
  AppendShortAlone(kNarrowLatents, fitted(kNarrowLatents, "bf16"), {96, 384, 896, 3000, 4096},
                   {1, 2, 4}, rows);
  AppendShortAlone(wide_latents, fitted(wide_latents, "bf16"), {128, 256, 384, 704, 1472, 2944},
                   {1, 2, 4}, rows);
  for (const HeadShape& heads : {kHeadShapes[0], kNarrowHeads, kHeadShapes[1], kHeadShapes[2],
                                 sliding, kNarrowLatents, wide_latents})
    AppendMixedAlone(heads, fitted(heads, "bf16"), rows);
  for (const HeadShape& heads : {kNarrowLatents, wide_latents})
    AppendShort(heads, fitted(heads, "bf16"), {1, 4}, rows);
  for (const HeadShape& heads :
       {kHeadShapes[0], kNarrowHeads, kHeadShapes[1], kHeadShapes[2], sliding, kNarrowLatents}) {
    AppendMixedPast(heads, fitted(heads, "bf16"), rows);
    AppendLittlePast(heads, fitted(heads, "bf16"), rows);
  }
  for (const HeadShape& heads : {kHeadShapes[0], kHeadShapes[1], kHeadShapes[2], sliding})
    AppendShortAlone(heads, fitted(heads, "bf16"), {600, 850, 1200, 3000}, {1, 2}, rows);
  for (const std::string_view name : kPastSchemes) {
    if (name == "bf16") continue;
    AppendShort(kHeadShapes[1], fitted(kHeadShapes[1], name), {1, 4}, rows);
    AppendShortBetween(kHeadShapes[1], fitted(kHeadShapes[1], name), rows);
    const HeadShape& heads = name == "int4" ? kHeadShapes[1] : kNarrowHeads;
    AppendMixedPast(heads, fitted(heads, name), rows);
    AppendLittlePast(heads, fitted(heads, name), rows);
  }
  return std::move(rows.measured);
}

}  // namespace moecast::kernels
