#include "sim/run/routing_tables.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "sim/run/build.h"
#include "sim/run/routing_chunks.h"

namespace moecast {
namespace {

template <class Items, class Key>
size_t IndexOf(const Items& items, const Key& key) {
  size_t i = 0;
  while (i < items.size() && !(items[i] == key)) ++i;
  return i;
}

/// Adds `key` if it is new. RETURNS: where it stands.
template <class Items, class Key>
size_t AddDistinct(Items& items, const Key& key) {
  const size_t i = IndexOf(items, key);
  if (i == items.size()) items.push_back(key);
  return i;
}

constexpr size_t kNone = static_cast<size_t>(-1);

/// A rule of a case: its rows by position in the group's tables.
struct RuleUse {
  ExpertRule rule;
  size_t table = 0;
  size_t ranked = kNone;
};

/// Cases that read one trace, and one table per distinct selection among them.
struct TraceGroup {
  size_t first_case = 0;
  WantedRanks wanted = {};
  std::vector<ExpertSelection> selections = {};
  std::vector<BatchRule> batch_rules = {};
  std::vector<std::pair<size_t, std::vector<RuleUse>>> cases = {};  // case, its rules
};

void AddCase(size_t index, const Scenario& scenario, TraceGroup& group) {
  std::vector<RuleUse> uses;
  for (const ExpertRule& rule : scenario.experts.rules) {
    RuleUse use{.rule = rule};
    const auto* token = std::get_if<ExpertSelection>(&rule);
    const ExpertSelection selection = token != nullptr ? *token : ExpertSelection{NativeTopK{}};
    use.table = AddDistinct(group.selections, selection);
    if (const auto* batch = std::get_if<BatchRule>(&rule)) {
      use.ranked = AddDistinct(group.batch_rules, *batch);
    }
    const int64_t ranks = RanksWanted(rule, scenario.model.moe->top_k);
    if (ranks > group.wanted.ranks || (NeedsScores(rule) && !group.wanted.scores)) {
      group.wanted.rule = SelectionName(KindOf(rule));
    }
    group.wanted.ranks = std::max(group.wanted.ranks, ranks);
    group.wanted.scores = group.wanted.scores || NeedsScores(rule);
    uses.push_back(std::move(use));
  }
  group.cases.emplace_back(index, std::move(uses));
}

std::vector<TraceGroup> GroupByTrace(std::span<const StudyCase> cases) {
  std::vector<TraceGroup> groups;
  std::vector<std::string> trace_keys;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!NeedsReplayTable(cases[i].scenario)) continue;
    const size_t g = AddDistinct(trace_keys, TraceKey(cases[i].scenario));
    if (g == groups.size()) groups.push_back({.first_case = i});
    AddCase(i, cases[i].scenario, groups[g]);
  }
  return groups;
}

/// Chunks that go through the builders together while the next ones are read.
struct ChunkBatch {
  std::vector<RoutingChunk> chunks;  // reused; the first `count` are filled
  size_t count = 0;
};

/// Fills the batch up to kBatchIds expert ids. RETURNS: false at the end of the trace.
Result<bool> FillBatch(RoutingChunks& source, ChunkBatch& batch) {
  constexpr size_t kBatchIds = size_t{1} << 20;  // a few MB: little next to the tables
  batch.count = 0;
  for (size_t ids = 0; ids < kBatchIds; ++batch.count) {
    if (batch.count == batch.chunks.size()) batch.chunks.emplace_back();
    SIM_TRY(const bool more, source.Next(batch.chunks[batch.count]));
    if (!more) return false;
    ids += batch.chunks[batch.count].ids.size();
  }
  return true;
}

/// Builders of bit rows and of ranked rows; each sees every chunk in trace order, whatever the
/// thread count.
class BuilderPool {
 public:
  using Builder = std::variant<ReplayTable::Builder, RankedTable::Builder>;
  BuilderPool(std::vector<Builder> builders, int threads)
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

  /// The tables of both kinds, each in the order of their builders.
  struct Built {
    std::vector<std::shared_ptr<const ReplayTable>> tables;
    std::vector<std::shared_ptr<const RankedTable>> ranked;
  };
  /// ERRORS: the first failed builder's.
  Result<Built> Finish() && {
    Built built;
    for (size_t b = 0; b < builders_.size(); ++b) {
      if (!errors_[b].empty()) return errors_[b];
      if (auto* rows = std::get_if<RankedTable::Builder>(&builders_[b])) {
        built.ranked.push_back(std::make_shared<const RankedTable>(std::move(*rows).Finish()));
        continue;
      }
      auto& bits = std::get<ReplayTable::Builder>(builders_[b]);
      SIM_TRY(ReplayTable table, std::move(bits).Finish());
      built.tables.push_back(std::make_shared<const ReplayTable>(std::move(table)));
    }
    return built;
  }

 private:
  void AddShare(const ChunkBatch& batch, size_t first) {
    for (size_t b = first; b < builders_.size(); b += threads_) {
      for (size_t c = 0; c < batch.count && errors_[b].empty(); ++c) {
        const Status status =
            std::visit([&](auto& builder) { return builder.Add(batch.chunks[c]); }, builders_[b]);
        if (!status.ok()) errors_[b] = status.errors();
      }
    }
  }

  std::vector<Builder> builders_;
  std::vector<Errors> errors_;  // [builder]
  size_t threads_;
};

/// Streams the trace through the pool, reading a batch ahead.
Status FeedAll(RoutingChunks& source, BuilderPool& pool) {
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
  SIM_TRY(RoutingChunks source,
          RoutingChunks::Open(cases[group.first_case].scenario, group.wanted));
  std::vector<BuilderPool::Builder> builders;
  for (const ExpertSelection& selection : group.selections) {
    builders.emplace_back(std::in_place_type<ReplayTable::Builder>, source.header(), selection,
                          resident_bytes);
  }
  for (const BatchRule& rule : group.batch_rules) {
    builders.emplace_back(std::in_place_type<RankedTable::Builder>, source.header(), rule,
                          resident_bytes);
  }
  BuilderPool pool(std::move(builders), threads);
  SIM_RETURN_IF_ERROR(FeedAll(source, pool));
  SIM_TRY(const BuilderPool::Built built, std::move(pool).Finish());
  for (const auto& [index, uses] : group.cases) {
    CaseRouting& routing = tables[index];
    routing.rules.choose = cases[index].scenario.experts.choose;
    routing.completed_share = source.completed_share();
    for (const RuleUse& use : uses) {
      routing.rules.rules.push_back(
          {.rule = use.rule,
           .table = built.tables[use.table],
           .ranked = use.ranked == kNone ? nullptr : built.ranked[use.ranked]});
    }
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
  for (const TraceGroup& group : groups) {
    table_count += std::ssize(group.selections) + std::ssize(group.batch_rules);
  }
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
