// Every rule on routing that trained models chose: the shipped trace, whose rows have 16 ranks with
// scores, and ESFT's DeepSeek-V2-Lite rows, where the shared data are. What the rules count must be
// what their statements give, and their invariants must hold.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "sim/policy/expert_selection.h"
#include "sim/policy/experts/eac_prefill.h"
#include "tests/sim/policy/naive_batch.h"
#include "tests/support/temporary_folder.h"
#include "traces/routing_import.h"
#include "traces/routing_reader.h"

namespace moecast {
namespace {

using test::DrawnBatch;
using test::NaiveCounts;
using test::NaiveLayer;
using test::NaiveRow;

constexpr double kLeastSimilarity = 0.4;

NaiveRow RowAt(const RoutingHeader& header, const RoutingChunk& chunk, size_t cell) {
  const auto top_k = static_cast<size_t>(header.top_k);
  const auto further = static_cast<size_t>(header.further_ranks);
  NaiveRow row;
  for (size_t r = 0; r < top_k; ++r) {
    row.emplace_back(chunk.ids[cell * top_k + r], chunk.scores[cell * top_k + r]);
  }
  for (size_t r = 0; r < further; ++r) {
    row.emplace_back(chunk.further_ids[cell * further + r],
                     chunk.further_scores[cell * further + r]);
  }
  return row;
}

/// The token at `at` of `phase` of each of the first `sequences` sequences that have it.
DrawnBatch BatchOf(const std::filesystem::path& trace, RoutingPhase phase, int64_t sequences,
                   int64_t at) {
  auto reader = RoutingReader::Open(trace).value();
  const RoutingHeader& header = reader.header();
  const RankedShape shape{.moe_layers = std::ssize(header.moe_layers),
                          .experts = header.experts,
                          .top_k = header.top_k,
                          .ranks = header.top_k + header.further_ranks};
  std::vector<NaiveLayer> layers(header.moe_layers.size());
  RoutingChunk chunk;
  while (std::ssize(layers.front()) < sequences && reader.Next(chunk).value()) {
    if (chunk.phase != phase || chunk.tokens <= at) continue;
    for (size_t l = 0; l < layers.size(); ++l) {
      layers[l].push_back(RowAt(header, chunk, static_cast<size_t>(at) * layers.size() + l));
    }
  }
  return {shape, std::move(layers)};
}

DrawnBatch ShippedBatch(int64_t sequences, int64_t at) {
  return BatchOf(MOECAST_SHIPPED_TRACE, RoutingPhase::kDecode, sequences, at);
}

/// A table of similarities of every pair, the same in every run.
std::map<std::pair<int64_t, int64_t>, float> Similarities(int64_t layer, int64_t experts) {
  std::map<std::pair<int64_t, int64_t>, float> similar;
  RngStream rng({.seed = 1}, "real rows/similarity", static_cast<uint64_t>(layer));
  for (int64_t from = 0; from < experts; ++from) {
    for (int64_t to = 0; to < experts; ++to) {
      if (from != to) similar[{from, to}] = static_cast<float>(rng.NextUniform());
    }
  }
  return similar;
}

Sere SereFor(const RankedShape& shape, int64_t primary) {
  std::vector<SimilarPair> pairs;
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    for (const auto& [pair, similarity] : Similarities(layer, shape.experts)) {
      pairs.push_back({layer, static_cast<uint16_t>(pair.first), static_cast<uint16_t>(pair.second),
                       similarity});
    }
  }
  return {.primary = primary,
          .similarity = std::make_shared<const ExpertSimilarity>(shape.moe_layers, shape.experts,
                                                                 pairs, kLeastSimilarity)};
}

/// A rule, and the same as its paper states it.
struct RuleOnRows {
  std::string name;
  std::function<BatchRule(const RankedShape&)> rule;
  std::function<NaiveCounts(const DrawnBatch&, size_t layer)> stated;
};

template <class Rule>
RuleOnRows Stated(const std::string& name, Rule rule) {
  return {.name = name,
          .rule = [rule](const RankedShape&) { return BatchRule{.kind = rule}; },
          .stated =
              [rule](const DrawnBatch& batch, size_t layer) {
                return test::Naive(rule, batch.layers()[layer], batch.shape().top_k);
              }};
}

std::vector<RuleOnRows> EveryBatchRule() {
  const AllocTokens alloc{.mean_k = {{3.5}}, .base_k = 1};
  return {Stated("oea", Oea{.base_k = 3}),
          Stated("oea, few ranks", Oea{.base_k = 2, .most_k = 4, .max_rank = 5}),
          Stated("xshare", XShare{.budget = 24}),
          Stated("xshare, wide", XShare{.budget = 48}),
          Stated("lynx", Lynx{.mass = 0.8, .bins = 8}),
          {.name = "sere",
           .rule = [](const RankedShape& shape) { return BatchRule{.kind = SereFor(shape, 2)}; },
           .stated =
               [](const DrawnBatch& batch, size_t layer) {
                 return test::NaiveSere(
                     2, kLeastSimilarity,
                     Similarities(static_cast<int64_t>(layer), batch.shape().experts),
                     batch.layers()[layer], batch.shape().top_k);
               }},
          {.name = "alloc_tokens",
           .rule = [alloc](const RankedShape&) { return BatchRule{.kind = alloc}; },
           .stated =
               [](const DrawnBatch& batch, size_t layer) {
                 return test::NaiveAlloc(1, 3.5, batch.layers()[layer], batch.shape().top_k);
               }}};
}

/// Counts are what is stated, only of ranked experts (of replacing rules: any), and no token's best
/// expert is lost.
void ExpectStated(const DrawnBatch& batch) {
  for (const RuleOnRows& each : EveryBatchRule()) {
    const auto counts = batch.Count(each.rule(batch.shape()));
    for (size_t l = 0; l < counts.size(); ++l) {
      ASSERT_EQ(counts[l], each.stated(batch, l)) << each.name << ", layer " << l;
      int64_t assignments = 0;
      for (const auto& [expert, count] : counts[l]) assignments += count;
      EXPECT_LE(assignments, batch.shape().top_k * std::ssize(batch.layers()[l])) << each.name;
      std::map<int64_t, int64_t> best;
      for (const NaiveRow& row : batch.layers()[l]) ++best[row.front().first];
      for (const auto& [expert, count] : best) {
        EXPECT_GE(counts[l].contains(expert) ? counts[l].at(expert) : 0, count) << each.name;
      }
    }
  }
}

/// EAC-MoE over the batch taken as one prompt: what is left is what few tokens did not choose.
void ExpectEacStated(const DrawnBatch& batch) {
  const auto tokens = std::ssize(batch.layers().front());
  for (const double threshold : {0.0, 0.5, 1.0, 2.0}) {
    for (const NaiveLayer& layer : batch.layers()) {
      std::vector<uint32_t> counts(static_cast<size_t>(batch.shape().experts));
      for (const NaiveRow& row : layer) {
        for (int64_t r = 0; r < batch.shape().top_k; ++r) {
          ++counts[static_cast<size_t>(row[static_cast<size_t>(r)].first)];
        }
      }
      std::vector<uint32_t> stated = counts;
      for (uint32_t& count : stated) {
        const double share = static_cast<double>(count) * static_cast<double>(counts.size());
        if (share < threshold * static_cast<double>(tokens * batch.shape().top_k)) count = 0;
      }
      EacPrefill{.threshold = threshold}.Filter(tokens, batch.shape().top_k, counts);
      EXPECT_EQ(counts, stated);
    }
  }
}

/// Token-level rules, each looser by its parameter: never fewer experts, at least one, at most k.
void ExpectTokenRulesMonotone(const DrawnBatch& batch) {
  const auto top_k = static_cast<size_t>(batch.shape().top_k);
  const auto at = [top_k](double share) -> std::vector<ExpertSelection> {
    const auto k = 1 + static_cast<int64_t>(share * static_cast<double>(top_k - 1));
    return {UniformTopK{k}, RatioToBest{.threshold = {{1 - share}}}, TopP{.mass = {{share}}},
            AsetDerived{.threshold = {{1 - share}}, .penalty = 0.5, .min_k = 1}};
  };
  for (size_t l = 0; l < batch.layers().size(); ++l) {
    for (const NaiveRow& ranked : batch.layers()[l]) {
      std::vector<float> scores;
      for (size_t r = 0; r < top_k; ++r) scores.push_back(ranked[r].second);
      const GateRow row{static_cast<int64_t>(l), scores, batch.shape().top_k};
      std::vector<int64_t> before(at(0).size(), 1);
      for (const double share : {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}) {
        const std::vector<ExpertSelection> rules = at(share);
        for (size_t i = 0; i < rules.size(); ++i) {
          const int64_t kept = KeptExperts(rules[i], row);  // checks 1 <= kept <= k
          EXPECT_GE(kept, before[i]) << "rule " << i << " at " << share;
          before[i] = kept;
        }
      }
    }
  }
}

TEST(RealRows, HaveSixteenRanksOfSixtyFourExperts) {
  const DrawnBatch batch = ShippedBatch(4, 0);
  EXPECT_EQ(batch.shape().ranks, 16);
  EXPECT_EQ(batch.shape().experts, 64);
  EXPECT_EQ(batch.layers().front().size(), 4U);
}

TEST(RealRows, EveryRuleCountsWhatItStates) {
  for (const int64_t sequences : {1, 16, 64}) {
    const DrawnBatch batch = ShippedBatch(sequences, 5);
    ExpectStated(batch);
    ExpectEacStated(batch);
    ExpectTokenRulesMonotone(batch);
  }
}

TEST(RealRows, EveryRuleCountsWhatItStatesOnRowsOfAnotherModel) {
  const std::filesystem::path shared =
      std::filesystem::path(MOECAST_SHARED_DATA) / "routing/esft_deepseek_v2_lite";
  if (!std::filesystem::exists(shared)) GTEST_SKIP() << "no shared data at " << shared;
  const test::TemporaryFolder scratch;
  for (const std::string task : {"intent", "law"}) {
    const auto import =
        LoadRoutingImport(std::filesystem::path(MOECAST_DESCRIPTIONS) / ("esft_" + task + ".yaml"),
                          {.data = shared, .drop = {}});
    ASSERT_TRUE(import.ok()) << import.errors().front().message;
    ASSERT_TRUE(ImportRouting(*import, scratch / task, {}).ok());
    const DrawnBatch batch = BatchOf(scratch / task, RoutingPhase::kPrefill, 24, 10);
    ASSERT_EQ(batch.shape().experts, 64);
    ExpectStated(batch);
    ExpectEacStated(batch);
    ExpectTokenRulesMonotone(batch);
  }
}

// docs/traces.md measured the same rule on the model itself: 32.5 experts of steps of 16.
TEST(RealRows, OeaTouchesAsManyExpertsAsTheModelDidWhenItsLossWasMeasured) {
  double touched = 0;
  int64_t layers = 0;
  for (int64_t at = 0; at < 40; ++at) {
    for (const auto& counts : ShippedBatch(16, at).Count({.kind = Oea{.base_k = 3}})) {
      touched += static_cast<double>(counts.size());
      ++layers;
    }
  }
  EXPECT_NEAR(touched / static_cast<double>(layers), 32.5, 2.5);
}

}  // namespace
}  // namespace moecast
