// Time of one simulated step's routing under the rules that are evaluated in the step, from bound
// rows to the loads of every (layer, rank). Figures: docs/performance/replay.md.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "sim/base/rng.h"
#include "sim/replay/selecting_source.h"

namespace moecast {
namespace {

constexpr int64_t kLayers = 48;
constexpr int64_t kExperts = 128;
constexpr int64_t kTopK = 8;
constexpr int64_t kFurther = 8;
constexpr int64_t kSequences = 128;

RoutingHeader Header() {
  RoutingHeader header;
  header.experts = kExperts;
  header.top_k = kTopK;
  header.further_ranks = kFurther;
  header.has_scores = true;
  header.moe_layers.resize(kLayers);
  std::iota(header.moe_layers.begin(), header.moe_layers.end(), 0);
  return header;
}

/// Rows whose experts are drawn without replacement, low ids popular, scores falling by rank.
RoutingChunk DrawChunk(int64_t tokens, RngStream& rng) {
  RoutingChunk chunk;
  chunk.tokens = tokens;
  chunk.phase = RoutingPhase::kDecode;
  std::vector<uint16_t> ids;
  for (int64_t row = 0; row < tokens * kLayers; ++row) {
    ids.clear();
    float score = 0.3F;
    while (std::ssize(ids) < kTopK + kFurther) {
      const auto expert =
          static_cast<uint16_t>(std::pow(rng.NextUniform(), 1.5) * static_cast<double>(kExperts));
      if (std::ranges::find(ids, expert) != ids.end()) continue;
      const bool own = std::ssize(ids) < kTopK;
      (own ? chunk.ids : chunk.further_ids).push_back(expert);
      (own ? chunk.scores : chunk.further_scores).push_back(score);
      score *= 0.8F + static_cast<float>(0.2 * rng.NextUniform());
      ids.push_back(expert);
    }
  }
  return chunk;
}

ExpertSimilarity RandomSimilarity(RngStream& rng) {
  std::vector<SimilarPair> pairs;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    for (uint16_t from = 0; from < kExperts; ++from) {
      for (uint16_t to = 0; to < kExperts; ++to) {
        if (from == to) continue;
        pairs.push_back({layer, from, to, static_cast<float>(rng.NextUniform())});
      }
    }
  }
  return {kLayers, kExperts, std::move(pairs), 0};
}

ExpertRule RuleAt(int64_t index, RngStream& rng) {
  switch (index) {
    case 1:
      return BatchRule{.kind = Oea{.base_k = 3}};
    case 2:
      return BatchRule{.kind = XShare{.budget = 32}};
    case 3:
      return BatchRule{.kind = Lynx{.mass = 0.8, .bins = 8}};
    case 4:
      return BatchRule{.kind = Sere{.primary = 2,
                                    .similarity = std::make_shared<const ExpertSimilarity>(
                                        RandomSimilarity(rng))}};
    case 5:
      return BatchRule{.kind = AllocTokens{.mean_k = {{4}}}};
    default:
      return ExpertSelection{NativeTopK{}};
  }
}

/// Args: rule, batch, rows of each sequence (few: the rows stay in cache; many: they do not).
void SelectInStep(benchmark::State& state) {
  RngStream rng({.seed = 1}, "bench/selection");
  const ExpertRule rule = RuleAt(state.range(0), rng);
  const int64_t batch = state.range(1);
  const int64_t rows = state.range(2);
  ReplayTable::Builder bits(Header(), NativeTopK{});
  const auto* batch_rule = std::get_if<BatchRule>(&rule);
  std::unique_ptr<RankedTable::Builder> ranked;
  if (batch_rule != nullptr) {
    ranked =
        std::make_unique<RankedTable::Builder>(Header(), *batch_rule, ReplayTable::kResidentBytes);
  }
  RoutingChunk chunk = DrawChunk(rows, rng);
  for (int64_t s = 0; s < kSequences; ++s) {
    chunk.sequence = SequenceId(static_cast<uint32_t>(s));
    SIM_CHECK(bits.Add(chunk).ok());
    if (ranked != nullptr) SIM_CHECK(ranked->Add(chunk).ok());
  }
  RuleRows rule_rows{.rule = rule,
                     .table = std::make_shared<const ReplayTable>(std::move(bits).Finish().value()),
                     .ranked = nullptr};
  if (ranked != nullptr) {
    rule_rows.ranked = std::make_shared<const RankedTable>(std::move(*ranked).Finish());
  }
  SelectingSource source({.rules = {std::move(rule_rows)}, .choose = {}},
                         {.expert_ranks = 1, .tile_rows = 16}, {});
  std::vector<RoutedSpan> spans;
  for (int64_t i = 0; i < batch; ++i) {
    spans.push_back({SequenceId(static_cast<uint32_t>(i % kSequences)), RoutingPhase::kDecode,
                     i * 37 % rows, 1});
  }
  std::vector<ExpertLoad> loads(kLayers);
  const StepLoad load{.decode_sequences = batch};
  for (auto _ : state) {
    source.Count(spans, 0, loads, load);
    benchmark::DoNotOptimize(loads.data());
    for (RoutedSpan& span : spans) span.first_row = (span.first_row + 1) % rows;
  }
  state.SetLabel(std::string(SelectionName(source.selection())));
}
BENCHMARK(SelectInStep)
    ->ArgNames({"rule", "batch", "rows"})
    ->ArgsProduct({{0, 1, 2, 3, 4, 5}, {16, 128}, {16}})
    ->ArgsProduct({{0, 1, 2, 3, 4, 5}, {128}, {1024}})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace moecast
