// Twins: what their parameters do to what is drawn, their YAML, other shapes, the stress presets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "sim/base/text.h"
#include "traces/routing_rows.h"
#include "traces/routing_stats.h"
#include "traces/routing_synthesis.h"
#include "traces/twin/twin_moments.h"
#include "traces/twin/twin_scale.h"
#include "traces/twin/twin_yaml.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

RoutingTwin EvenTwin(int32_t layers, int32_t experts, int32_t top_k) {
  RoutingTwin twin;
  twin.header = {
      .source = "test", .model = "test", .moe_layers = {}, .experts = experts, .top_k = top_k};
  twin.header.moe_layers.resize(static_cast<size_t>(layers));
  std::iota(twin.header.moe_layers.begin(), twin.header.moe_layers.end(), 0);
  const auto rows = static_cast<size_t>(layers) * static_cast<size_t>(experts);
  twin.domains.push_back({.name = "all", .log_weights = std::vector<double>(rows, 0)});
  twin.topic_spread.assign(static_cast<size_t>(layers), 0);
  twin.stickiness.assign(static_cast<size_t>(layers), 0);
  twin.sequences = 64;
  twin.prefill_tokens = {0};
  twin.decode_tokens = {64};
  return twin;
}

TwinSample Draw(const RoutingTwin& twin, uint64_t seed = 1) {
  RoutingSynthesiser synthesiser(twin, {.seed = seed, .replication = 0});
  TwinSample sample(twin.header);
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    EXPECT_FALSE(FindProblem(chunk.ids, twin.header.experts, twin.header.top_k));
    sample.AddSequence(static_cast<uint32_t>(synthesiser.domain()));
    sample.Add(chunk);
  }
  return sample;
}

TwinMoments MomentsOf(const RoutingTwin& twin, int64_t group_size = 0) {
  return MeasureMoments(Draw(twin),
                        {.domains = twin.domains.size(), .far_lag = 16, .group_size = group_size});
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

TEST(Twin, WithoutStructureOverlapsAreThoseOfIndependentChoice) {
  const TwinMoments moments = MomentsOf(EvenTwin(4, 32, 4));
  EXPECT_NEAR(Mean(moments.adjacent), 0.5, 0.02);  // k^2 / E
  EXPECT_NEAR(Mean(moments.across), 0.5, 0.02);
  EXPECT_NEAR(moments.across_covariance, 0, 0.02);
  for (size_t i = 0; i < moments.windows.size(); ++i) {
    const auto tokens = static_cast<double>(int64_t{2} << i);
    EXPECT_NEAR(moments.windows[i], 32 * (1 - std::pow(1 - 4.0 / 32, tokens)), 0.15);
  }
}

TEST(Twin, TopicsMakeDistantTokensOfOneSequenceAlikeAndNotThoseOfTwo) {
  RoutingTwin twin = EvenTwin(4, 32, 4);
  twin.topic_spread.assign(4, 1.0);
  const TwinMoments moments = MomentsOf(twin);
  EXPECT_GT(Mean(moments.far), 0.8);
  EXPECT_NEAR(Mean(moments.across), 0.5, 0.05);
}

TEST(Twin, KindsLinkLayersAndLeavePopularityEven) {
  RoutingTwin twin = EvenTwin(4, 32, 4);
  twin.sequences = 256;
  twin.kinds = {.count = 8, .spread = 1.5};
  const TwinMoments moments = MomentsOf(twin);
  EXPECT_GT(moments.across_covariance, 0.05);
  // Exactly even weights on average; drawing without replacement bends that a little.
  for (const double share : moments.inclusion) EXPECT_NEAR(share, 4.0 / 32, 0.04);
}

TEST(Twin, GroupsRepelOrAttractExpertsOfARow) {
  RoutingTwin twin = EvenTwin(2, 32, 4);
  twin.groups = {.size = 8, .affinity = {1, 1}};
  const double independent = Mean(MomentsOf(twin, 8).group_pairs);
  EXPECT_NEAR(independent, 6.0 * 7 / 31, 0.03);  // pairs times the chance that two are in one block
  twin.groups.affinity = {0.1, 0.1};
  EXPECT_LT(Mean(MomentsOf(twin, 8).group_pairs), 0.6 * independent);
  twin.groups.affinity = {8, 8};
  EXPECT_GT(Mean(MomentsOf(twin, 8).group_pairs), 1.5 * independent);
}

TEST(Twin, GroupsThatRefuseSharingStillFillRows) {
  RoutingTwin twin = EvenTwin(1, 8, 6);
  twin.groups = {.size = 4, .affinity = {0}};
  EXPECT_EQ(Draw(twin).tokens(), 64 * 64);
}

TEST(Twin, DistancesAreDrawnFromTheirParts) {
  RoutingTwin twin = EvenTwin(2, 64, 4);
  twin.stickiness.assign(2, 0.9);
  twin.distances = {{8, 1}};  // 8 to 15 tokens ago
  const TwinSample sample = Draw(twin);
  const auto overlap_at = [&](int64_t lag) {
    double shared = 0;
    double pairs = 0;
    for (size_t s = 0; s < sample.sequences(); ++s) {
      for (int64_t t = sample.first(s); t + lag < sample.end(s); ++t, ++pairs) {
        shared += static_cast<double>(Overlap(sample.row(t, 0), sample.row(t + lag, 0)));
      }
    }
    return shared / pairs;
  };
  EXPECT_GT(overlap_at(8), overlap_at(5) + 0.2);
  EXPECT_GT(overlap_at(15), overlap_at(5) + 0.2);
}

TEST(Twin, LengthsFollowTheirQuantilesAndTheDomainsFactor) {
  RoutingTwin twin = EvenTwin(1, 8, 2);
  twin.decode_tokens = {10, 20};
  twin.domains.push_back(twin.domains[0]);
  twin.domains[1].length = 4;
  twin.order = {.in_turn = true, .sequences = 1};
  const TwinSample sample = Draw(twin);
  for (size_t s = 0; s < sample.sequences(); ++s) {
    const int64_t factor = s % 2 == 0 ? 1 : 4;
    EXPECT_GE(sample.tokens_of(s), 10 * factor);
    EXPECT_LE(sample.tokens_of(s), 20 * factor);
  }
}

RoutingTwin LivelyTwin() {
  RoutingTwin twin = EvenTwin(3, 16, 4);
  for (size_t i = 0; i < twin.domains[0].log_weights.size(); ++i) {
    twin.domains[0].log_weights[i] = static_cast<double>(i % 7) / 4;
  }
  twin.domains.push_back({.name = "a \"quoted\"\nname",
                          .share = 3,
                          .length = 2,
                          .log_weights = std::vector<double>(48, 0.5)});
  twin.topic_spread = {0.25, 0.5, 0.75};
  twin.stickiness = {0.5, 0.25, 0.125};
  twin.distances = {{1, 0.5}, {2, 0.25}, {4, 0.25}};
  twin.kinds = {.count = 4, .spread = 1.25, .stickiness = 0.5, .seed = 9};
  twin.groups = {.size = 4, .affinity = {1, 0.5, 2}};
  twin.header.has_scores = true;
  twin.scores = {.gaps = {0.5, 0.25, 0.125, 0.5, 0.25, 0.125, 1, 0.5, 0.25}, .tail = {3, 4, 5}};
  twin.prefill_tokens = {4, 8, 16};
  return twin;
}

TEST(TwinYaml, ReadsBackAsWritten) {
  const RoutingTwin twin = LivelyTwin();
  const auto read = ParseTwin("t.yaml", TwinYaml(twin));
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ(read->header, twin.header);
  EXPECT_EQ(read->domains, twin.domains);
  EXPECT_EQ(read->distances, twin.distances);
  EXPECT_EQ(read->kinds, twin.kinds);
  EXPECT_EQ(read->groups, twin.groups);
  EXPECT_EQ(read->scores, twin.scores);
  EXPECT_EQ(read->topic_spread, twin.topic_spread);
  EXPECT_EQ(read->prefill_tokens, twin.prefill_tokens);
}

std::string ErrorsOf(const std::string& yaml) {
  const auto read = ParseTwin("t.yaml", yaml);
  return read.ok() ? "" : ToString(read.errors());
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TwinYaml, SaysWhatIsWrongAndWhere) {
  const std::string good = TwinYaml(LivelyTwin());
  EXPECT_THAT(ErrorsOf(Replaced(good, "topic_spread:", "topic_spraed:")),
              HasSubstr("did you mean 'topic_spread'?"));
  EXPECT_THAT(ErrorsOf(Replaced(good, "spread: 1.25", "spread: 99")),
              HasSubstr("kinds.spread is '99', allowed are numbers from 0 to 10"));
  EXPECT_THAT(ErrorsOf(Replaced(good, "spread: 1.25", "spread: 99")), HasSubstr("t.yaml:"));
  EXPECT_THAT(ErrorsOf(Replaced(good, "stickiness: [0.5, 0.25, 0.125]", "stickiness: [0.5, 0.25]")),
              HasSubstr("stickiness has 2 values, wanted are 3"));
  EXPECT_THAT(ErrorsOf(Replaced(good, "share: [0.5, 0.25, 0.25]", "share: [0.5, 0.25]")),
              HasSubstr("one value per first"));
  EXPECT_THAT(
      ErrorsOf("experts: 65535\ntop_k: 1\nmodel: m\nmoe_layers: {first: 0, count: 65536}\n"),
      HasSubstr("times MoE layers must be at most"));
}

TEST(TwinScale, OtherShapesKeepWhatTheyCan) {
  const RoutingTwin twin = LivelyTwin();
  const auto same = ChangeTwin(twin, {.layers = 3});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->domains, twin.domains);
  const auto larger = ChangeTwin(twin, {.experts = 64, .top_k = 8, .layers = 7});
  ASSERT_TRUE(larger.ok()) << ToString(larger.errors());
  EXPECT_EQ(larger->header.experts, 64);
  EXPECT_EQ(larger->header.top_k, 8);
  EXPECT_EQ(larger->header.moe_layers.size(), 7u);
  EXPECT_EQ(larger->stickiness.front(), twin.stickiness.front());
  EXPECT_EQ(larger->stickiness.back(), twin.stickiness.back());
  const auto [least, most] = std::minmax_element(larger->domains[0].log_weights.begin(),
                                                 larger->domains[0].log_weights.end());
  EXPECT_EQ(*least, 0);
  EXPECT_EQ(*most, 1.5);
  EXPECT_GT(Draw(*larger).tokens(), 0);
}

TEST(TwinScale, NamesAnUnknownDomain) {
  const auto changed = ChangeTwin(LivelyTwin(), {.domains = {{"al", 1}}});
  ASSERT_FALSE(changed.ok());
  EXPECT_THAT(ToString(changed.errors()), HasSubstr("did you mean 'all'?"));
  EXPECT_FALSE(ChangeTwin(LivelyTwin(), {.experts = 2, .top_k = 3}).ok());
}

/// Fullest of eight ranks over the average, in batches of consecutive tokens.
double Imbalance(const std::string& preset) {
  auto twin = LoadTwin(std::filesystem::path(MOECAST_PRESETS) / preset).value();
  twin = ChangeTwin(twin, {.experts = 64, .top_k = 8, .layers = 2}).value();
  RoutingSynthesiser synthesiser(twin, {.seed = 1, .replication = 0});
  PhaseRows rows;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    rows.ids.insert(rows.ids.end(), chunk.ids.begin(), chunk.ids.end());
    rows.sequence_first.push_back(rows.sequence_first.back() + chunk.tokens);
  }
  const PhaseRouting phase =
      Measure(twin.header, rows, RoutingPhase::kDecode, {.batches = {1024}, .ranks = {8}});
  return phase.batches.at(0).ranks.at(0).max_over_mean;
}

TEST(TwinPresets, HeatFallsOnRanksAsNamed) {
  const double balanced = Imbalance("w0_balanced.yaml");
  EXPECT_LT(balanced, 1.1);
  EXPECT_GT(Imbalance("w1_hot_experts.yaml"), balanced + 0.1);
  EXPECT_GT(Imbalance("w2_hot_rank.yaml"), 2);
  EXPECT_NEAR(Imbalance("w3_spread_heat.yaml"), balanced, 0.05);
  EXPECT_NEAR(Imbalance("w4_ragged_sources.yaml"), balanced, 0.05);
  EXPECT_NEAR(Imbalance("w5_idle_rank.yaml"), 8.0 / 7, 0.1);
  EXPECT_GT(Imbalance("w6_rotating_hot_spot.yaml"), 2);
  EXPECT_GT(Imbalance("w7_burst.yaml"), 1.2);
}

}  // namespace
}  // namespace moecast
