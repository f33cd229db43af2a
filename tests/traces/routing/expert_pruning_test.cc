#include "traces/expert_pruning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/property.h"
#include "traces/routing_synthesis.h"

namespace moecast {
namespace {

using ::testing::ElementsAre;

constexpr RoutingPhase kDecode = RoutingPhase::kDecode;

RoutingHeader Header() {
  return {.source = "test",
          .model = "toy",
          .moe_layers = {1},
          .experts = 6,
          .top_k = 2,
          .further_ranks = 2,
          .has_scores = true};
}

RoutingChunk TwoTokens() {
  return {.sequence = {},
          .phase = kDecode,
          .tokens = 2,
          .ids = {5, 1, 5, 0},
          .scores = {0.5F, 0.2F, 0.4F, 0.3F},
          .further_ids = {0, 2, 3, 4},
          .further_scores = {0.1F, 0.1F, 0.2F, 0.05F}};
}

PruningSpec Spec(int64_t experts, PruningOrder order = PruningOrder::kHardCount) {
  return {.experts = experts, .native_experts = 6, .native_top_k = 2, .order = order};
}

ExpertUse UseOf(const RoutingChunk& chunk) {
  ExpertUse use(Header());
  use.Add(chunk);
  return use;
}

TEST(ExpertPruning, KeepsTheMostUsedExpertsAndRenumbersThem) {
  RoutingChunk chunk = TwoTokens();
  ExpertPruning pruning(Header(), Spec(3), UseOf(chunk), {});
  EXPECT_THAT(pruning.kept(0), ElementsAre(0, 1, 5));  // 5 twice, 0 and 1 once
  EXPECT_EQ(pruning.header().experts, 3);
  EXPECT_EQ(pruning.header().top_k, 2);
  EXPECT_EQ(pruning.header().further_ranks, 1);
  pruning.Apply(chunk);
  EXPECT_THAT(chunk.ids, ElementsAre(2, 1, 2, 0));
  EXPECT_THAT(chunk.further_ids, ElementsAre(0, 1));  // the second row had no third expert left
  EXPECT_THAT(chunk.scores, ElementsAre(0.5F, 0.2F, 0.4F, 0.3F));
  EXPECT_THAT(chunk.further_scores, ElementsAre(0.1F, 0.0F));
  EXPECT_EQ(pruning.completed(), 0U);
}

TEST(ExpertPruning, SoftCountSumsScores) {
  ExpertUse use(Header());
  RoutingChunk chunk = TwoTokens();
  chunk.scores = {0.1F, 0.9F, 0.1F, 0.8F};
  use.Add(chunk);
  const ExpertPruning pruning(Header(), Spec(2, PruningOrder::kSoftCount), use, {});
  EXPECT_THAT(pruning.kept(0), ElementsAre(0, 1));
}

TEST(ExpertPruning, CompletesShortRowsWithTheMostUsedAndCountsThem) {
  RoutingChunk chunk = TwoTokens();
  ExpertUse use(Header());
  RoutingChunk other = TwoTokens();
  other.ids = {2, 4, 2, 4};
  use.Add(other);
  ExpertPruning pruning(Header(), Spec(2), use, {});
  EXPECT_THAT(pruning.kept(0), ElementsAre(2, 4));
  pruning.Apply(chunk);
  EXPECT_THAT(chunk.ids, ElementsAre(0, 1, 1, 0));  // row 0 ranked 2; row 1 ranked 4
  EXPECT_EQ(pruning.places(), 4U);
  EXPECT_EQ(pruning.completed(), 2U);
}

TEST(ExpertPruning, UnknownRowsStayUnknown) {
  RoutingChunk chunk = TwoTokens();
  ExpertPruning pruning(Header(), Spec(3), UseOf(chunk), {});
  std::fill_n(chunk.ids.begin(), 2, kUnknownExpert);
  std::fill_n(chunk.further_ids.begin(), 2, kUnknownExpert);
  pruning.Apply(chunk);
  EXPECT_THAT(chunk.ids, ElementsAre(kUnknownExpert, kUnknownExpert, 2, 0));
}

TEST(ExpertPruning, EveryRowHasDifferentExpertsOfTheKeptOnesInItsOwnOrder) {
  test::ForAll("traces/pruning", {.cases = 40}, [](RngStream& rng) {
    const RoutingHeader header{.source = "test",
                               .model = "toy",
                               .moe_layers = {0, 1},
                               .experts = 16,
                               .top_k = 4,
                               .further_ranks = 6,
                               .has_scores = true};
    SyntheticRouting routing{
        .popularity_spread = 1, .sequences = 2, .prefill_tokens = 5, .decode_tokens = 20};
    const Seed seed{.seed = rng.NextU64() % 1000};
    ExpertUse use(header);
    RoutingChunk chunk;
    RoutingSynthesiser counted(routing, header, seed);
    while (counted.Next(chunk)) use.Add(chunk);
    const auto order = static_cast<PruningOrder>(rng.NextBelow(3));
    const int64_t stay = 2 + static_cast<int64_t>(rng.NextBelow(13));
    ExpertPruning pruning(
        header, {.experts = stay, .native_experts = 16, .native_top_k = 4, .order = order}, use,
        seed);
    RoutingSynthesiser source(routing, header, seed);
    while (source.Next(chunk)) {
      const RoutingChunk before = chunk;
      pruning.Apply(chunk);
      const auto k = static_cast<size_t>(pruning.header().top_k);
      ASSERT_EQ(chunk.ids.size(), before.ids.size() / 4 * k);
      for (size_t cell = 0; cell < chunk.ids.size() / k; ++cell) {
        std::set<uint16_t> seen;
        for (size_t r = 0; r < k; ++r) {
          const uint16_t id = chunk.ids[cell * k + r];
          EXPECT_LT(id, stay);
          EXPECT_TRUE(seen.insert(id).second);
        }
        // The best kept expert of the old row comes first.
        const auto& kept = pruning.kept(cell % 2);
        for (size_t r = 0; r < 4; ++r) {
          const auto found = std::ranges::find(kept, before.ids[cell * 4 + r]);
          if (found == kept.end()) continue;
          EXPECT_EQ(chunk.ids[cell * k], found - kept.begin());
          break;
        }
      }
    }
  });
}

TEST(RoutingSynthesis, FurtherRanksChangeNoChoiceAndContinueTheScores) {
  RoutingHeader header{.source = "test",
                       .model = "toy",
                       .moe_layers = {0, 1},
                       .experts = 24,
                       .top_k = 3,
                       .has_scores = true};
  const SyntheticRouting routing{.popularity_spread = 0.7,
                                 .stickiness = 0.5,
                                 .sequences = 3,
                                 .prefill_tokens = 4,
                                 .decode_tokens = 30};
  RoutingSynthesiser plain(routing, header, {.seed = 9});
  header.further_ranks = 21;
  RoutingSynthesiser ranked(routing, header, {.seed = 9});
  RoutingChunk a;
  RoutingChunk b;
  while (plain.Next(a)) {
    ASSERT_TRUE(ranked.Next(b));
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(a.scores, b.scores);
    for (size_t cell = 0; cell < b.ids.size() / 3; ++cell) {
      std::set<uint16_t> all(b.ids.begin() + static_cast<int64_t>(cell * 3),
                             b.ids.begin() + static_cast<int64_t>(cell * 3 + 3));
      float before = b.scores[cell * 3 + 2];
      double sum = b.scores[cell * 3] + b.scores[cell * 3 + 1] + before;
      for (size_t r = 0; r < 21; ++r) {
        all.insert(b.further_ids[cell * 21 + r]);
        EXPECT_LE(b.further_scores[cell * 21 + r], before);
        before = b.further_scores[cell * 21 + r];
        sum += before;
      }
      EXPECT_EQ(all.size(), 24U);  // every expert has a rank
      EXPECT_NEAR(sum, 1, 1e-3);   // and all scores together are a softmax
    }
  }
}

TEST(GroupLimit, BalancedRoutingTakesAsManyOfEveryGroup) {
  RoutingHeader header{
      .source = "test", .model = "toy", .moe_layers = {0}, .experts = 32, .top_k = 8};
  RoutingTwin twin;
  twin.header = header;
  twin.domains = {{.log_weights = std::vector<double>(32)}};
  twin.topic_spread = {0};
  twin.stickiness = {0.6};
  twin.sequences = 2;
  twin.prefill_tokens = {0};
  twin.decode_tokens = {200};
  for (const GroupLimitSpec& limit :
       {GroupLimitSpec{.groups = 8, .quota = 1}, GroupLimitSpec{.groups = 4, .open = 2}}) {
    twin.limit = limit;
    RoutingSynthesiser source(twin, {.seed = 3});
    RoutingChunk chunk;
    while (source.Next(chunk)) {
      for (size_t cell = 0; cell < chunk.ids.size() / 8; ++cell) {
        std::map<int64_t, int64_t> taken;
        for (size_t r = 0; r < 8; ++r) ++taken[chunk.ids[cell * 8 + r] / (32 / limit.groups)];
        EXPECT_LE(taken.size(), limit.open > 0 ? 2U : 8U);
        EXPECT_GE(taken.size(), limit.quota > 0 ? 8U : 1U);
      }
    }
  }
}

}  // namespace
}  // namespace moecast
