#include "traces/routing_synthesis_spec.h"

#include <limits>

#include "sim/base/files.h"
#include "traces/routing_codec.h"
#include "traces/routing_shape_fields.h"
#include "traces/yaml_fields.h"

namespace moecast {
namespace {

constexpr double kMaxSpread = 10;      // e^10: one expert in 22,000
constexpr double kMaxSkew = 3.0 / 10;  // beyond it the law is no longer one hump
constexpr double kMaxDecay = 1000;     // the repeated token is the previous one
constexpr int64_t kMaxSequences = 1 << 24;
constexpr int64_t kMaxTokens = 1 << 20;  // a sequence is held in memory

void ReadOptional(YamlFields& fields, const char* key, RealRange range, double& value) {
  if (fields.Has(key)) value = fields.Real(key, range);
}

void ReadOptional(YamlFields& fields, const char* key, WholeRange range, int64_t& value) {
  if (fields.Has(key)) value = fields.Whole(key, range);
}

void ReadRouting(YamlFields& fields, SyntheticRouting& routing) {
  ReadOptional(fields, "popularity_spread", RealRange{0, kMaxSpread}, routing.popularity_spread);
  ReadOptional(fields, "popularity_skew", RealRange{0, kMaxSkew}, routing.popularity_skew);
  ReadOptional(fields, "topics", WholeRange{1, kMaxSequences}, routing.topics);
  ReadOptional(fields, "topic_strength", RealRange{0, 1}, routing.topic_strength);
  ReadOptional(fields, "stickiness", RealRange{0, 1}, routing.stickiness);
  ReadOptional(fields, "sequences", WholeRange{1, kMaxSequences}, routing.sequences);
  ReadOptional(fields, "prefill_tokens", WholeRange{0, kMaxTokens}, routing.prefill_tokens);
  ReadOptional(fields, "decode_tokens", WholeRange{0, kMaxTokens}, routing.decode_tokens);
  const double smallest = 1 / kMaxDecay;
  ReadOptional(fields, "stickiness_decay", RealRange{smallest, kMaxDecay},
               routing.stickiness_decay);
  ReadOptional(fields, "score_temperature", RealRange{smallest, kMaxDecay},
               routing.score_temperature);
}

}  // namespace

Result<SyntheticTrace> LoadSyntheticTrace(const std::filesystem::path& description) {
  const std::string file = description.string();
  SIM_TRY(const std::string bytes, ReadFile(description));
  SIM_TRY(const YAML::Node root, LoadYamlMapping(file, bytes));
  Errors errors;
  SyntheticTrace trace;
  YamlFields fields(root, file, "", errors);
  fields.AllowOnly({"model", "experts", "top_k", "moe_layers", "scores", "seed",
                    "popularity_spread", "popularity_skew", "topics", "topic_strength",
                    "stickiness", "stickiness_decay", "score_temperature", "sequences",
                    "prefill_tokens", "decode_tokens"});
  trace.header.source = "moecast trace synthesize " + description.filename().string();
  ReadRoutingShape(fields, trace.header);
  trace.header.has_scores = fields.Has("scores") && fields.OneOf("scores", {"no", "yes"}) == 1;
  if (fields.Has("seed")) {
    const int64_t seed = fields.Whole("seed", {0, std::numeric_limits<int64_t>::max()});
    trace.seed = static_cast<uint64_t>(seed);
  }
  ReadRouting(fields, trace.routing);
  if (trace.routing.prefill_tokens + trace.routing.decode_tokens == 0) {
    fields.Fail("prefill_tokens", "and decode_tokens are both 0");
  }
  if (errors.empty()) {
    const Status header = CheckHeader(trace.header);
    if (!header.ok()) errors.push_back({header.errors()[0].message, file});
  }
  if (!errors.empty()) return errors;
  return trace;
}

}  // namespace moecast
