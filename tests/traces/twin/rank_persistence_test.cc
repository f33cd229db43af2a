// Whether rebalancing helps: plans by hand, loads that last and loads that wander.
#include "traces/rank_persistence.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "traces/routing_stats.h"

namespace moecast {
namespace {

RoutingHeader Header(int32_t experts) {
  return {.source = "test", .model = "test", .moe_layers = {0}, .experts = experts, .top_k = 1};
}

/// One token per id.
PhaseRows Rows(std::vector<uint16_t> ids) {
  PhaseRows rows;
  rows.sequence_first = {0, static_cast<int64_t>(ids.size())};
  rows.ids = std::move(ids);
  return rows;
}

TEST(PlanReplicas, GivesCopiesToTheHottestAndEvensRanks) {
  const auto plan = PlanReplicas({8, 2, 2, 2}, 2, 2);
  ASSERT_EQ(plan.size(), 2u);
  for (const auto& slots : plan) EXPECT_EQ(slots.size(), 3u);
  // Expert 0 has three copies of 8/3; the ranks carry 7 and 7 +- one copy's part.
  EXPECT_EQ(std::count(plan[0].begin(), plan[0].end(), 0u) +
                std::count(plan[1].begin(), plan[1].end(), 0u),
            3);
}

TEST(PlanReplicas, PlacesEveryExpertWithoutReplicas) {
  const auto plan = PlanReplicas({1, 5, 3, 7}, 2, 0);
  EXPECT_EQ(plan[0], (std::vector<size_t>{3, 0}));
  EXPECT_EQ(plan[1], (std::vector<size_t>{1, 2}));
}

TEST(RankPersistence, HeatThatLastsIsRemovedByAPlanOfTheWindowBefore) {
  // Experts 0 and 1 share rank 0 and take all tokens, alike in every window.
  std::vector<uint16_t> ids;
  for (int i = 0; i < 400; ++i) ids.push_back(static_cast<uint16_t>(i % 2));
  const auto measured =
      MeasurePersistence(Header(4), Rows(ids), {.ranks = 2, .window_tokens = 100, .replicas = {0}});
  EXPECT_EQ(measured.windows, 4);
  EXPECT_DOUBLE_EQ(measured.max_over_mean, 2);
  EXPECT_DOUBLE_EQ(measured.of_totals, 2);
  EXPECT_DOUBLE_EQ(measured.still_fullest, 1);
  EXPECT_DOUBLE_EQ(measured.next_correlation, 1);
  EXPECT_DOUBLE_EQ(measured.forecasts[0].planned, 1);
  EXPECT_DOUBLE_EQ(measured.forecasts[0].oracle, 1);
}

TEST(RankPersistence, HeatThatMovesMakesPlansLate) {
  // Windows of all 0 and all 2 alternate: each plan is made for the other.
  std::vector<uint16_t> ids;
  for (int i = 0; i < 400; ++i) ids.push_back(i / 100 % 2 == 0 ? 0 : 2);
  const auto measured =
      MeasurePersistence(Header(4), Rows(ids), {.ranks = 2, .window_tokens = 100, .replicas = {0}});
  EXPECT_DOUBLE_EQ(measured.max_over_mean, 2);
  EXPECT_DOUBLE_EQ(measured.of_totals, 1);
  EXPECT_DOUBLE_EQ(measured.still_fullest, 0);
  EXPECT_DOUBLE_EQ(measured.next_correlation, -1);
  EXPECT_DOUBLE_EQ(measured.forecasts[0].planned, 2);
}

TEST(RankPersistence, RoundsReplicasUpAndNeedsTwoWindows) {
  const PhaseRows rows = Rows(std::vector<uint16_t>(100, 0));
  EXPECT_EQ(MeasurePersistence(Header(6), rows, {.ranks = 4, .window_tokens = 100}).windows, 0);
  const auto measured =
      MeasurePersistence(Header(6), rows, {.ranks = 4, .window_tokens = 10, .replicas = {0, 3}});
  EXPECT_EQ(measured.forecasts[0].replicas, 2);
  EXPECT_EQ(measured.forecasts[1].replicas, 6);
  EXPECT_LE(measured.forecasts[1].oracle, measured.forecasts[0].oracle);
}

}  // namespace
}  // namespace moecast
