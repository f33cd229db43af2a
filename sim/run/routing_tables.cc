#include "sim/run/routing_tables.h"

#include <string>
#include <utility>
#include <variant>

#include "sim/base/text.h"
#include "sim/run/build.h"
#include "traces/routing_reader.h"
#include "traces/routing_synthesis.h"

namespace moecast {
namespace {

template <class... Arms>
struct Overloaded : Arms... {
  using Arms::operator()...;
};
template <class... Arms>
Overloaded(Arms...) -> Overloaded<Arms...>;

template <class... Numbers>
std::string Joined(Numbers... numbers) {
  return ((" " + ShortestDouble(static_cast<double>(numbers))) + ...);
}

/// Equal keys mean equal rows. Replications bind differently but replay the same trace.
std::string TraceKey(const Scenario& scenario) {
  const MoeSpec& moe = *scenario.model.moe;
  std::string key = std::to_string(moe.experts) + " " + std::to_string(moe.top_k) + " layers";
  for (const int32_t layer : MoeLayerIndices(scenario.model)) key += " " + std::to_string(layer);
  return key +
         std::visit(
             Overloaded{[](const ReplayRouting& replay) { return " file " + replay.path.string(); },
                        [&](const SyntheticRouting& synthetic) {
                          // Names every field, so that a new one stops the build here.
                          const auto& [spread, skew, topics, strength, stickiness, decay,
                                       temperature, sequences, prefill, decode] = synthetic;
                          return " synthetic " + std::to_string(scenario.seed) +
                                 Joined(spread, skew, topics, strength, stickiness, decay,
                                        temperature, sequences, prefill, decode);
                        },
                        [](const UniformRouting&) { return std::string(" uniform"); }},
             scenario.routing);
}

std::string SelectionKey(const ExpertSelection& selection) {
  return std::visit(
      Overloaded{[](const NativeTopK&) { return std::string("native"); },
                 [](const UniformTopK& rule) { return "uniform " + std::to_string(rule.k); },
                 [](const LayerSchedule& rule) {
                   std::string key = "schedule";
                   for (const int64_t k : rule.k_per_moe_layer) {
                     key += " " + std::to_string(k);
                   }
                   return key;
                 }},
      selection);
}

/// Chunks of one trace, whatever it comes from.
using ChunkSource = std::variant<RoutingReader, RoutingSynthesiser>;

const RoutingHeader& HeaderOf(const ChunkSource& source) {
  return std::visit([](const auto& s) -> const RoutingHeader& { return s.header(); }, source);
}

Result<bool> NextChunk(ChunkSource& source, RoutingChunk& chunk) {
  return std::visit([&chunk](auto& s) { return Result<bool>(s.Next(chunk)); }, source);
}

/// The figures in which a trace's shape differs from the model's; empty when they agree.
std::string ShapeDifference(const RoutingHeader& header, const ModelSpec& model) {
  const auto differ = [](std::string_view what, int64_t trace, int64_t wanted) {
    return trace == wanted ? std::string()
                           : " " + std::string(what) + " " + std::to_string(trace) +
                                 " (the model has " + std::to_string(wanted) + ")";
  };
  std::string text =
      differ("experts", header.experts, model.moe->experts) +
      differ("top-k", header.top_k, model.moe->top_k) +
      differ("MoE layers", static_cast<int64_t>(header.moe_layers.size()), model.moe_layer_count());
  if (text.empty() && header.moe_layers != MoeLayerIndices(model)) {
    text = " MoE layers at other positions than the model's";
  }
  return text;
}

Result<ChunkSource> OpenFile(const ReplayRouting& replay, const ModelSpec& model) {
  SIM_TRY(RoutingReader reader, RoutingReader::Open(replay.path));
  if (std::string difference = ShapeDifference(reader.header(), model); !difference.empty()) {
    return Error{"the routing trace was captured from '" + reader.header().model +
                     "' and cannot drive model '" + model.name + "': it has" + difference,
                 replay.path.string() + ": routing"};
  }
  return ChunkSource(std::move(reader));
}

Result<ChunkSource> OpenChunks(const Scenario& scenario) {
  if (const auto* replay = std::get_if<ReplayRouting>(&scenario.routing)) {
    return OpenFile(*replay, scenario.model);
  }
  RoutingHeader header{.source = "moecast synthetic routing",
                       .model = scenario.model.name,
                       .moe_layers = MoeLayerIndices(scenario.model),
                       .experts = static_cast<int32_t>(scenario.model.moe->experts),
                       .top_k = static_cast<int32_t>(scenario.model.moe->top_k),
                       .has_scores = true};
  return ChunkSource(RoutingSynthesiser(std::get<SyntheticRouting>(scenario.routing),
                                        std::move(header),
                                        Seed{.seed = scenario.seed, .replication = 0}));
}

/// Cases that read one trace, and one builder per distinct selection among them.
struct TraceGroup {
  size_t first_case = 0;
  std::vector<std::string> selection_keys;
  std::vector<std::vector<size_t>> cases;  // [selection]
};

template <class Items, class Key>
size_t IndexOf(const Items& items, const Key& key) {
  size_t i = 0;
  while (i < items.size() && !(items[i] == key)) ++i;
  return i;
}

std::vector<TraceGroup> GroupByTrace(std::span<const StudyCase> cases) {
  std::vector<TraceGroup> groups;
  std::vector<std::string> trace_keys;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!NeedsReplayTable(cases[i].scenario)) continue;
    const std::string trace_key = TraceKey(cases[i].scenario);
    const size_t g = IndexOf(trace_keys, trace_key);
    if (g == groups.size()) {
      trace_keys.push_back(trace_key);
      groups.push_back({.first_case = i, .selection_keys = {}, .cases = {}});
    }
    TraceGroup& group = groups[g];
    const std::string selection_key = SelectionKey(cases[i].scenario.experts);
    const size_t s = IndexOf(group.selection_keys, selection_key);
    if (s == group.cases.size()) {
      group.selection_keys.push_back(selection_key);
      group.cases.emplace_back();
    }
    group.cases[s].push_back(i);
  }
  return groups;
}

Status LoadGroup(const TraceGroup& group, std::span<const StudyCase> cases, RoutingTables& tables) {
  SIM_TRY(ChunkSource source, OpenChunks(cases[group.first_case].scenario));
  std::vector<ReplayTable::Builder> builders;
  for (const std::vector<size_t>& members : group.cases) {
    builders.emplace_back(HeaderOf(source), cases[members.front()].scenario.experts);
  }
  RoutingChunk chunk;
  while (true) {
    SIM_TRY(const bool more, NextChunk(source, chunk));
    if (!more) break;
    for (ReplayTable::Builder& builder : builders) SIM_RETURN_IF_ERROR(builder.Add(chunk));
  }
  for (size_t s = 0; s < builders.size(); ++s) {
    SIM_TRY(ReplayTable table, std::move(builders[s]).Finish());
    const auto shared = std::make_shared<const ReplayTable>(std::move(table));
    for (const size_t i : group.cases[s]) tables[i] = shared;
  }
  return Ok();
}

}  // namespace

Result<RoutingTables> LoadRoutingTables(std::span<const StudyCase> cases) {
  RoutingTables tables(cases.size());
  Errors errors;
  for (const TraceGroup& group : GroupByTrace(cases)) {
    if (const Status status = LoadGroup(group, cases, tables); !status.ok()) {
      errors.insert(errors.end(), status.errors().begin(), status.errors().end());
    }
  }
  if (!errors.empty()) return errors;
  return tables;
}

}  // namespace moecast
