// Suite of prefill attention: new tokens alone over head shapes, lengths and batches, chunks over a
// past in pages of several schemes, and the short chunks that prompts of a chat are cut into.
#include "kernels/bench/suite_attend_prefill.h"

#include <stdexcept>
#include <string_view>

#include "kernels/bench/attend_prefill_bench.h"
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
  void Append(const HeadShape& heads, const AttendPrefillCase& attend, const FittedScheme& scheme) {
    constexpr ReplayPlan kPlan{.min_launches = 1, .period = 1, .max_periods = 16, .replay_us = 300};
    const AttendPrefillShape& s = attend.shape;
    KvMeasurement row =
        DescribeCache(context, scheme, {.kv_heads = s.kv_heads, .head_dim = s.key_dim},
                      {.sequences = s.sequences, .tokens = attend.past_tokens});
    row.op = heads.op;
    row.model = heads.name;
    row.regime = "even";
    row.max_context = attend.past_tokens + attend.new_tokens;
    row.new_tokens = s.sequences * attend.new_tokens;
    row.query_heads = s.query_heads;
    row.window = s.window;
    const Traffic traffic = AttendPrefillTraffic(attend);
    row.bytes = traffic.bytes;
    row.flops = traffic.flops;
    const AttendPrefillBench bench(attend, context.bench.stream);
    AppendMeasured(
        context, kPlan, [&](int) { bench.Launch(context.bench.stream); }, std::move(row), measured);
  }
};

void AppendNewTokens(const HeadShape& heads, const FittedScheme& bf16, Rows& rows) {
  AttendPrefillCase attend{.shape = heads.shape};
  for (const int32_t tokens : {128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}) {
    // Both ends of the range for the first shape alone.
    if (&heads != &kHeadShapes[0] && (tokens < 512 || tokens > 16384)) continue;
    for (const int32_t sequences : {1, 8}) {
      if (sequences * tokens > 32768) continue;
      attend.shape.sequences = sequences;
      attend.new_tokens = tokens;
      rows.Append(heads, attend, bf16);
    }
  }
}

void AppendSliding(const HeadShape& heads, const FittedScheme& bf16, Rows& rows) {
  AttendPrefillCase attend{.shape = heads.shape};
  attend.shape.sequences = 1;
  attend.shape.window = kSlidingWindow;
  for (const int32_t tokens : {2048, 16384}) {
    attend.new_tokens = tokens;
    rows.Append(heads, attend, bf16);
  }
}

void AppendChunks(const HeadShape& heads, const FittedScheme& scheme, Rows& rows) {
  AttendPrefillCase attend{.shape = heads.shape, .scheme = scheme.scheme};
  attend.shape.sequences = 1;
  for (const int32_t past : {2048, 8192, 32768, 131072}) {
    for (const int32_t tokens : {256, 2048}) {
      attend.past_tokens = past;
      attend.new_tokens = tokens;
      rows.Append(heads, attend, scheme);
    }
  }
}

// Chunks of the lengths in which prompts of a chat come.
void AppendShort(const HeadShape& heads, const FittedScheme& scheme,
                 const std::vector<int32_t>& batches, Rows& rows) {
  AttendPrefillCase attend{.shape = heads.shape, .scheme = scheme.scheme};
  for (const int32_t past : {256, 1024, 4096}) {
    for (const int32_t tokens : {64, 256, 512}) {
      for (const int32_t sequences : batches) {
        attend.shape.sequences = sequences;
        attend.past_tokens = past;
        attend.new_tokens = tokens;
        rows.Append(heads, attend, scheme);
      }
    }
  }
}

void AppendShortAlone(const HeadShape& heads, const FittedScheme& bf16,
                      const std::vector<int32_t>& chunks, const std::vector<int32_t>& batches,
                      Rows& rows) {
  AttendPrefillCase attend{.shape = heads.shape};
  for (const int32_t tokens : chunks) {
    for (const int32_t sequences : batches) {
      attend.shape.sequences = sequences;
      attend.new_tokens = tokens;
      rows.Append(heads, attend, bf16);
    }
  }
}

const NamedScheme& SchemeOf(const SuiteContext& context, std::string_view name) {
  for (const NamedScheme& scheme : context.kv_schemes)
    if (scheme.name == name) return scheme;
  throw std::runtime_error("attend_prefill: kv_schemes.csv has no scheme " + std::string(name));
}

}  // namespace

std::vector<KvMeasurement> RunAttendPrefillSuite(const SuiteContext& context) {
  SuiteContext steady = UnderPowerCap(context);
  steady.bench.rule = {.min_samples = 20,
                       .max_samples = 60,
                       .max_iqr_ratio = 0.01,
                       .max_relative_error = 0.003,
                       .max_seconds = 0.15};
  Rows rows{.context = steady, .measured = {}};
  const NamedScheme& bf16 = SchemeOf(context, "bf16");
  for (const HeadShape& heads : kHeadShapes) {
    AppendNewTokens(heads, Fitted(bf16, heads.shape.key_dim), rows);
    if (heads.shape.key_dim == 64) AppendSliding(heads, Fitted(bf16, heads.shape.key_dim), rows);
  }
  for (const std::string_view name : kPastSchemes)
    AppendChunks(kHeadShapes[0], Fitted(SchemeOf(context, name), kHeadShapes[0].shape.key_dim),
                 rows);
  HeadShape sliding = kHeadShapes[2];
  sliding.shape.window = kSlidingWindow;
  const FittedScheme heads_of_128 = Fitted(bf16, kNarrowHeads.shape.key_dim);
  AppendShortAlone(kNarrowHeads, heads_of_128, {32, 128, 256, 512, 1024, 2048}, {1, 4}, rows);
  AppendShort(kNarrowHeads, heads_of_128, {1, 4}, rows);
  for (const HeadShape& heads : {kHeadShapes[1], kHeadShapes[2], sliding}) {
    const FittedScheme fitted = Fitted(bf16, heads.shape.key_dim);
    AppendShortAlone(heads, fitted, {32, 128, 256, 384}, {1, 4}, rows);
    AppendShort(heads, fitted, {1, 4}, rows);
  }
  AppendShortAlone(kNarrowLatents, Fitted(bf16, kNarrowLatents.shape.key_dim),
                   {64, 128, 256, 512, 1024, 2048}, {1, 4, 8}, rows);
  for (const std::string_view name : kPastSchemes) {
    if (name != bf16.name)
      AppendShort(kHeadShapes[1], Fitted(SchemeOf(context, name), kHeadShapes[1].shape.key_dim),
                  {1}, rows);
  }
  return std::move(rows.measured);
}

}  // namespace moecast::kernels
