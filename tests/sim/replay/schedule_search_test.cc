#include "sim/replay/schedule_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/replay/gate_measures.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

LayerWorth DrawWorth(size_t layers, size_t top_k, RngStream& rng) {
  LayerWorth worth(layers, std::vector<double>(top_k));
  for (std::vector<double>& layer : worth) {
    for (double& value : layer) value = rng.NextUniform();
  }
  return worth;
}

/// The most that any schedule within the budget is worth, by trying all.
double Exhaustive(const LayerWorth& worth, int64_t budget) {
  std::vector<int64_t> k(worth.size(), 1);
  const auto top_k = static_cast<int64_t>(worth.front().size());
  double most = -1;
  for (;;) {
    if (std::accumulate(k.begin(), k.end(), int64_t{0}) <= budget) {
      most = std::max(most, MeanWorth(worth, k));
    }
    size_t at = 0;
    while (at < k.size() && k[at] == top_k) k[at++] = 1;
    if (at == k.size()) return most;
    ++k[at];
  }
}

GateRows DrawRows(int64_t layers, size_t top_k, RngStream& rng) {
  GateRows rows{.top_k = top_k};
  for (int64_t row = 0; row < 40 * layers; ++row) {
    rows.moe_layer.push_back(row % layers);
    float score = 0.5F;
    for (size_t r = 0; r < top_k; ++r) {
      rows.scores.push_back(score);
      score *= static_cast<float>(0.3 + 0.7 * rng.NextUniform());
    }
  }
  return rows;
}

TEST(BestSchedule, IsTheBestOfAllWithinTheBudget) {
  test::ForAll("replay/schedule", {.cases = 60}, [](RngStream& rng) {
    const LayerWorth worth = DrawWorth(1 + rng.NextBelow(4), 1 + rng.NextBelow(4), rng);
    const auto layers = static_cast<int64_t>(worth.size());
    const int64_t budget = layers + static_cast<int64_t>(rng.NextBelow(8));
    const std::vector<int64_t> best = BestSchedule(worth, budget);
    EXPECT_LE(std::accumulate(best.begin(), best.end(), int64_t{0}), budget);
    EXPECT_DOUBLE_EQ(MeanWorth(worth, best), Exhaustive(worth, budget));
  });
}

TEST(BestSchedule, WithMoreBudgetIsWorthNoLess) {
  RngStream rng({.seed = 8}, "schedule budget");
  const LayerWorth worth = GateMassWorth(DrawRows(6, 8, rng), 6);
  double before = 0;
  for (int64_t budget = 6; budget <= 48; ++budget) {
    const double value = MeanWorth(worth, BestSchedule(worth, budget));
    EXPECT_GE(value, before);
    before = value;
  }
  EXPECT_DOUBLE_EQ(before, 1);
}

TEST(BestTuple, IsAScheduleOfThePublishedRuleAndNeverBeatsTheBestList) {
  test::ForAll("replay/tuple", {.cases = 20}, [](RngStream& rng) {
    const LayerWorth worth = GateMassWorth(DrawRows(5, 4, rng), 5);
    const std::vector<int32_t> layers = {1, 2, 3, 4, 5};
    const int64_t budget = 5 + static_cast<int64_t>(rng.NextBelow(16));
    const TupleChoice choice = BestTuple(worth, budget, 6, layers);
    EXPECT_EQ(choice.k_per_moe_layer, LayerScheduleFromTuple(choice.tuple, 6, layers));
    EXPECT_LE(
        std::accumulate(choice.k_per_moe_layer.begin(), choice.k_per_moe_layer.end(), int64_t{0}),
        budget);
    EXPECT_LE(MeanWorth(worth, choice.k_per_moe_layer),
              MeanWorth(worth, BestSchedule(worth, budget)) + 1e-12);
  });
}

TEST(TuneAsetDerived, KeepsTheMeanThatIsAskedForInEveryLayer) {
  RngStream rng({.seed = 9}, "schedule aset");
  const GateRows rows = DrawRows(3, 8, rng);
  for (const double mean : {2.0, 4.0, 6.5}) {
    const AsetDerived rule = TuneAsetDerived(rows, 3, mean);
    ASSERT_EQ(rule.threshold.values.size(), 3U);
    const KeptShare kept = MeasureKept(rows, rule);
    EXPECT_GE(kept.mean_experts, mean);
    EXPECT_LT(kept.mean_experts, mean + 0.05);
    EXPECT_GE(rule.penalty, 0);
  }
}

TEST(GateMassWorth, IsTheShareThatTheBestExpertsHold) {
  const GateRows rows{.top_k = 2, .moe_layer = {0, 0, 1}, .scores = {0.6F, 0.2F, 0.4F, 0.4F, 1, 0}};
  const LayerWorth worth = GateMassWorth(rows, 2);
  EXPECT_NEAR(worth[0][0], 1.0 / 1.6, 1e-6);
  EXPECT_DOUBLE_EQ(worth[0][1], 1);
  EXPECT_DOUBLE_EQ(worth[1][0], 1);
}

}  // namespace
}  // namespace moecast
