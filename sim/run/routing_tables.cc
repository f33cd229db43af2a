#include "sim/run/routing_tables.h"

#include <algorithm>
#include <string>
#include <thread>
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
  std::vector<ExpertSelection> selections;
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
      groups.push_back({.first_case = i, .selections = {}, .cases = {}});
    }
    TraceGroup& group = groups[g];
    const ExpertSelection& selection = cases[i].scenario.experts;
    const size_t s = IndexOf(group.selections, selection);
    if (s == group.cases.size()) {
      group.selections.push_back(selection);
      group.cases.emplace_back();
    }
    group.cases[s].push_back(i);
  }
  return groups;
}

/// Chunks that go through the builders together while the next ones are read.
struct ChunkBatch {
  std::vector<RoutingChunk> chunks;  // reused; the first `count` are filled
  size_t count = 0;
};

/// Fills the batch up to kBatchIds expert ids. RETURNS: false at the end of the trace.
Result<bool> FillBatch(ChunkSource& source, ChunkBatch& batch) {
  constexpr size_t kBatchIds = size_t{1} << 20;  // a few MB: little next to the tables
  batch.count = 0;
  for (size_t ids = 0; ids < kBatchIds; ++batch.count) {
    if (batch.count == batch.chunks.size()) batch.chunks.emplace_back();
    SIM_TRY(const bool more, NextChunk(source, batch.chunks[batch.count]));
    if (!more) return false;
    ids += batch.chunks[batch.count].ids.size();
  }
  return true;
}

/// One builder per selection; each sees every chunk in trace order, whatever the thread count.
class BuilderPool {
 public:
  BuilderPool(std::vector<ReplayTable::Builder> builders, int threads)
      : builders_(std::move(builders)),
        errors_(builders_.size()),
        threads_(std::min(static_cast<size_t>(threads), builders_.size())) {}

  /// Adds the batch to every builder while `meanwhile` runs on this thread.
  template <class Meanwhile>
  void Add(const ChunkBatch& batch, Meanwhile meanwhile) {
    std::vector<std::jthread> workers;
    if (threads_ > 1) {
      for (size_t t = 0; t < threads_; ++t) workers.emplace_back([&, t] { AddShare(batch, t); });
    } else {
      AddShare(batch, 0);
    }
    meanwhile();
  }

  /// RETURNS: one table per builder. ERRORS: the first failed builder's.
  Result<std::vector<std::shared_ptr<const ReplayTable>>> Finish() && {
    std::vector<std::shared_ptr<const ReplayTable>> tables;
    for (size_t b = 0; b < builders_.size(); ++b) {
      if (!errors_[b].empty()) return errors_[b];
      SIM_TRY(ReplayTable table, std::move(builders_[b]).Finish());
      tables.push_back(std::make_shared<const ReplayTable>(std::move(table)));
    }
    return tables;
  }

 private:
  void AddShare(const ChunkBatch& batch, size_t first) {
    for (size_t b = first; b < builders_.size(); b += threads_) {
      for (size_t c = 0; c < batch.count && errors_[b].empty(); ++c) {
        const Status status = builders_[b].Add(batch.chunks[c]);
        if (!status.ok()) errors_[b] = status.errors();
      }
    }
  }

  std::vector<ReplayTable::Builder> builders_;
  std::vector<Errors> errors_;  // [builder]
  size_t threads_;
};

/// Streams the trace through the pool, reading a batch ahead.
Status FeedAll(ChunkSource& source, BuilderPool& pool) {
  ChunkBatch current;
  ChunkBatch next;
  Result<bool> more = FillBatch(source, current);
  while (more.ok()) {
    const bool last = !*more;
    pool.Add(current, [&] {
      if (!last) more = FillBatch(source, next);
    });
    if (last) return Ok();
    std::swap(current, next);
  }
  return more.errors();
}

Status LoadGroup(const TraceGroup& group, std::span<const StudyCase> cases, int threads,
                 int64_t resident_bytes, RoutingTables& tables) {
  SIM_TRY(ChunkSource source, OpenChunks(cases[group.first_case].scenario));
  const RoutingHeader& header = HeaderOf(source);
  std::vector<ReplayTable::Builder> builders;
  for (const ExpertSelection& selection : group.selections) {
    if (NeedsScores(selection) && !header.has_scores) {
      return Error{"the routing trace has no gate scores, and a rule of `experts` needs them",
                   header.source};
    }
    builders.emplace_back(header, selection, resident_bytes);
  }
  BuilderPool pool(std::move(builders), threads);
  SIM_RETURN_IF_ERROR(FeedAll(source, pool));
  SIM_TRY(const auto built, std::move(pool).Finish());
  for (size_t s = 0; s < built.size(); ++s) {
    for (const size_t i : group.cases[s]) tables[i] = built[s];
  }
  return Ok();
}

}  // namespace

Result<RoutingTables> LoadRoutingTables(std::span<const StudyCase> cases, int threads,
                                        int64_t resident_bytes) {
  SIM_CHECK(threads >= 1);
  RoutingTables tables(cases.size());
  Errors errors;
  const std::vector<TraceGroup> groups = GroupByTrace(cases);
  int64_t table_count = 0;
  for (const TraceGroup& group : groups) table_count += std::ssize(group.selections);
  const int64_t share = resident_bytes / std::max<int64_t>(table_count, 1);
  for (const TraceGroup& group : groups) {
    if (const Status status = LoadGroup(group, cases, threads, share, tables); !status.ok()) {
      errors.insert(errors.end(), status.errors().begin(), status.errors().end());
    }
  }
  if (!errors.empty()) return errors;
  return tables;
}

}  // namespace moecast
