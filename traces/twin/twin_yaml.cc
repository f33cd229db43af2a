#include "traces/twin/twin_yaml.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sim/base/comma_list.h"
#include "sim/base/files.h"
#include "sim/base/text.h"
#include "traces/routing_shape_fields.h"
#include "traces/yaml_fields.h"

namespace moecast {
namespace {

constexpr double kMostShare = 1e6;
constexpr RealRange kAnyShare = {0, kMostShare};

/// One value per layer; a single one stands for all.
std::vector<double> PerLayer(YamlFields& fields, const std::string& key, size_t layers,
                             RealRange range) {
  if (!fields.Has(key)) return std::vector<double>(layers, 0);
  if (!fields.IsList(key)) return std::vector<double>(layers, fields.Real(key, range));
  return fields.RealList(key, range);
}

std::vector<double> Lengths(YamlFields& fields, const std::string& key) {
  const RealRange range = {0, static_cast<double>(kMaxTwinTokens)};
  if (fields.IsList(key)) return fields.RealList(key, range);
  return {fields.Real(key, range)};
}

TwinHeat ReadHeat(YamlFields& fields) {
  constexpr RealRange kFraction = {0, 1};
  constexpr double kMostTimes = 1e6;
  fields.AllowOnly({"from", "to", "times"});
  const TwinHeat heat = {.from = fields.Real("from", kFraction),
                         .to = fields.Real("to", kFraction),
                         .times = fields.Real("times", {1 / kMostTimes, kMostTimes})};
  if (heat.to <= heat.from) fields.Fail("to", "must be above from");
  return heat;
}

TwinDomain ReadDomain(YamlFields& fields, const RoutingHeader& header) {
  constexpr double kMostLength = 1024;
  fields.AllowOnly({"name", "share", "length", "log_weights", "hot"});
  TwinDomain domain;
  domain.name = fields.Text("name");
  if (fields.Has("share")) domain.share = fields.Real("share", kAnyShare);
  if (fields.Has("length")) domain.length = fields.Real("length", {1 / kMostLength, kMostLength});
  const size_t rows = header.moe_layers.size() * static_cast<size_t>(header.experts);
  if (fields.Has("log_weights")) {
    domain.log_weights = fields.RealList("log_weights", {-kMaxLogWeight, kMaxLogWeight});
    if (domain.log_weights.size() != rows) {
      fields.Fail("log_weights",
                  "has " + std::to_string(domain.log_weights.size()) +
                      " numbers, wanted are layers x experts = " + std::to_string(rows));
    }
    return domain;
  }
  domain.by_heat = true;
  if (fields.Has("hot")) {
    for (YamlFields& hot : fields.Mappings("hot")) domain.heat.push_back(ReadHeat(hot));
  }
  SetWeightsByHeat(header, domain);
  return domain;
}

void ReadSources(YamlFields& fields, size_t layers, RoutingTwin& twin) {
  twin.topic_spread = PerLayer(fields, "topic_spread", layers, {0, kMaxTopicSpread});
  twin.stickiness = PerLayer(fields, "stickiness", layers, {0, 1});
  if (fields.Has("topics")) twin.topics = fields.Whole("topics", {0, kMaxTwinSequences});
  if (fields.Has("decay")) twin.decay = fields.Real("decay", {1 / kMaxAffinity, kMaxAffinity});
  if (fields.Has("distances")) {
    YamlFields distances = fields.Mapping("distances");
    distances.AllowOnly({"first", "share"});
    const auto first = distances.WholeList("first", {1, kMaxTwinDistance});
    const auto share = distances.RealList("share", kAnyShare);
    if (first.size() != share.size()) distances.Fail("share", "must have one value per first");
    for (size_t i = 0; i < std::min(first.size(), share.size()); ++i) {
      twin.distances.push_back({first[i], share[i]});
    }
  }
  if (fields.Has("kinds")) {
    YamlFields kinds = fields.Mapping("kinds");
    kinds.AllowOnly({"count", "spread", "stickiness", "seed"});
    twin.kinds.count = kinds.Whole("count", {1, kMaxTwinKinds});
    twin.kinds.spread = kinds.Real("spread", {0, kMaxTopicSpread});
    twin.kinds.stickiness = kinds.Real("stickiness", {0, 1});
    if (kinds.Has("seed")) {
      twin.kinds.seed =
          static_cast<uint64_t>(kinds.Whole("seed", {0, std::numeric_limits<int64_t>::max()}));
    }
  }
  if (fields.Has("groups")) {
    YamlFields groups = fields.Mapping("groups");
    groups.AllowOnly({"size", "affinity"});
    twin.groups.size = groups.Whole("size", {1, std::max(twin.header.experts, 1)});
    twin.groups.affinity = PerLayer(groups, "affinity", layers, {0, kMaxAffinity});
  }
}

void ReadScores(YamlFields& fields, size_t layers, RoutingTwin& twin) {
  twin.header.has_scores = fields.Has("scores");
  if (!twin.header.has_scores) return;
  YamlFields scores = fields.Mapping("scores");
  scores.AllowOnly({"gaps", "tail"});
  twin.scores.gaps = scores.RealList("gaps", {0, kMaxAffinity});
  twin.scores.tail = PerLayer(scores, "tail", layers, kAnyShare);
  const size_t gaps = static_cast<size_t>(std::max(twin.header.top_k, 1)) - 1;
  if (gaps > 0 && twin.scores.gaps.size() == gaps) {  // one layer's stand for all
    const std::vector<double> one = twin.scores.gaps;
    for (size_t l = 1; l < layers; ++l) {
      twin.scores.gaps.insert(twin.scores.gaps.end(), one.begin(), one.end());
    }
  }
}

void ReadDomains(YamlFields& fields, RoutingTwin& twin) {
  if (fields.Has("order")) {
    YamlFields order = fields.Mapping("order");
    order.AllowOnly({"in_turn"});
    twin.order = {.in_turn = true, .sequences = order.Whole("in_turn", {1, kMaxTwinSequences})};
  }
  for (YamlFields& domain : fields.Mappings("domains")) {
    twin.domains.push_back(ReadDomain(domain, twin.header));
  }
}

std::string Number(double value) {
  constexpr double kDigits = 1e4;
  const double rounded = std::round(value * kDigits) / kDigits;
  return ShortestDouble(rounded == 0 ? 0 : rounded);
}

/// [a, b, ..], with a line break after every `per_line` values.
std::string List(const std::vector<double>& values, size_t per_line, const std::string& indent) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += i % per_line == 0 ? ",\n" + indent : ", ";
    text += Number(values[i]);
  }
  return text + "]";
}

std::string List(const std::vector<double>& values) { return List(values, values.size() + 1, ""); }

/// As YAML's double-quoted text: a label may hold anything.
std::string Quoted(const std::string& text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += std::string("\\") + c;
    } else if (byte < ' ') {
      quoted += std::string("\\x") + kHex[byte / 16] + kHex[byte % 16];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string ShapeYaml(const RoutingTwin& twin) {
  const std::string layers =
      CommaList(twin.header.moe_layers, [](int32_t layer) { return std::to_string(layer); });
  return "source: " + Quoted(twin.header.source) + "\nmodel: " + Quoted(twin.header.model) +
         "\nexperts: " + std::to_string(twin.header.experts) +
         "\ntop_k: " + std::to_string(twin.header.top_k) + "\nmoe_layers: [" + layers +
         "]\nsequences: " + std::to_string(twin.sequences) +
         "\nprefill_tokens: " + List(twin.prefill_tokens) +
         "\ndecode_tokens: " + List(twin.decode_tokens) + "\n";
}

std::string SourcesYaml(const RoutingTwin& twin) {
  std::string text = "topics: " + std::to_string(twin.topics) +
                     "\ntopic_spread: " + List(twin.topic_spread) +
                     "\nstickiness: " + List(twin.stickiness) + "\n";
  if (twin.distances.empty()) {
    text += "decay: " + Number(twin.decay) + "\n";
  } else {
    std::vector<double> first;
    std::vector<double> share;
    for (const DistanceShare& part : twin.distances) {
      first.push_back(static_cast<double>(part.first));
      share.push_back(part.share);
    }
    text += "distances:\n  first: " + List(first) + "\n  share: " + List(share) + "\n";
  }
  text += "kinds: {count: " + std::to_string(twin.kinds.count) +
          ", spread: " + Number(twin.kinds.spread) +
          ", stickiness: " + Number(twin.kinds.stickiness) +
          ", seed: " + std::to_string(twin.kinds.seed) + "}\n";
  if (twin.groups.size > 0) {
    text += "groups:\n  size: " + std::to_string(twin.groups.size) +
            "\n  affinity: " + List(twin.groups.affinity) + "\n";
  }
  if (twin.header.has_scores) {
    const size_t gaps = std::max(static_cast<size_t>(twin.header.top_k), size_t{2}) - 1;
    text += "scores:\n  gaps: " + List(twin.scores.gaps, gaps, "    ") +
            "\n  tail: " + List(twin.scores.tail) + "\n";
  }
  if (twin.order.in_turn) {
    text += "order: {in_turn: " + std::to_string(twin.order.sequences) + "}\n";
  }
  return text;
}

}  // namespace

Result<RoutingTwin> ParseTwin(const std::string& file, const std::string& bytes) {
  SIM_TRY(const YAML::Node root, LoadYamlMapping(file, bytes));
  Errors errors;
  YamlFields fields(root, file, "", errors);
  fields.AllowOnly({"source", "model", "experts", "top_k", "moe_layers", "sequences",
                    "prefill_tokens", "decode_tokens", "topics", "topic_spread", "stickiness",
                    "distances", "decay", "kinds", "groups", "scores", "order", "domains"});
  RoutingTwin twin;
  twin.header.source = fields.Has("source") ? fields.Text("source") : "moecast twin";
  ReadRoutingShape(fields, twin.header);
  const size_t layers = twin.header.moe_layers.size();
  if (static_cast<int64_t>(layers) * twin.header.experts > kMaxTwinRows) {
    fields.Fail("experts", "times MoE layers must be at most " + std::to_string(kMaxTwinRows));
  }
  if (!errors.empty()) return errors;  // lists are measured by the shape
  twin.sequences = fields.Whole("sequences", {1, kMaxTwinSequences});
  twin.prefill_tokens = Lengths(fields, "prefill_tokens");
  twin.decode_tokens = Lengths(fields, "decode_tokens");
  ReadSources(fields, layers, twin);
  ReadScores(fields, layers, twin);
  ReadDomains(fields, twin);
  if (!errors.empty()) return errors;
  if (const Status usable = CheckTwin(twin); !usable.ok()) {
    for (const Error& error : usable.errors()) errors.push_back({error.message, file});
    return errors;
  }
  return twin;
}

Result<RoutingTwin> LoadTwin(const std::filesystem::path& path) {
  SIM_TRY(const std::string bytes, ReadFile(path));
  return ParseTwin(path.string(), bytes);
}

std::string TwinYaml(const RoutingTwin& twin) {
  std::string text =
      "# A statistical twin of routing; docs/traces.md explains the fields.\n"
      "# moecast trace synthesize --twin THIS.yaml --out twin.moetrace\n";
  text += ShapeYaml(twin) + SourcesYaml(twin) + "domains:\n";
  for (const TwinDomain& domain : twin.domains) {
    text += "  - name: " + Quoted(domain.name.empty() ? "all" : domain.name) +
            "\n    share: " + Number(domain.share) + "\n    length: " + Number(domain.length) +
            "\n    log_weights: " +
            List(domain.log_weights, static_cast<size_t>(twin.header.experts), "      ") + "\n";
  }
  return text;
}

}  // namespace moecast
