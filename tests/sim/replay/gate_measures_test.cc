#include "sim/replay/gate_measures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "sim/base/rng.h"

namespace moecast {
namespace {

/// Rows of one layer.
GateRows Rows(size_t top_k, std::vector<float> scores) {
  GateRows rows = {.top_k = top_k, .moe_layer = {}, .scores = std::move(scores)};
  rows.moe_layer.resize(rows.scores.size() / top_k);
  return rows;
}

/// Rows of distinct scores, best first.
GateRows RandomRows(size_t top_k, size_t count) {
  RngStream rng(Seed{3}, "test/gates");
  std::vector<float> scores;
  for (size_t row = 0; row < count; ++row) {
    std::vector<float> of(top_k);
    for (float& score : of) score = static_cast<float>(rng.NextUniform());
    std::sort(of.begin(), of.end(), std::greater<>());
    scores.insert(scores.end(), of.begin(), of.end());
  }
  return Rows(top_k, scores);
}

const KeptCurve& CurveOf(const std::vector<KeptCurve>& curves, const std::string& rule) {
  const auto found = std::find_if(curves.begin(), curves.end(),
                                  [&rule](const KeptCurve& c) { return c.rule == rule; });
  EXPECT_NE(found, curves.end());
  return *found;
}

ExpertSelection RuleAt(const KeptCurve& curve, double parameter) {
  if (curve.rule == "uniform_top_k") return UniformTopK{.k = static_cast<int64_t>(parameter)};
  if (curve.rule == "ratio_to_best") return RatioToBest{.threshold = {{parameter}}};
  if (curve.rule == "top_p") return TopP{.mass = {{parameter}}};
  return AsetDerived{.threshold = {{parameter}}, .penalty = curve.penalty.value()};
}

TEST(GateMeasures, KeptShareByHand) {
  const GateRows rows = Rows(4, {8, 4, 2, 1, 4, 4, 1, 1});
  const KeptShare uniform = MeasureKept(rows, UniformTopK{.k = 2});
  EXPECT_DOUBLE_EQ(uniform.mean_experts, 2);
  EXPECT_DOUBLE_EQ(uniform.mass, 20.0 / 25);
  const KeptShare ratio = MeasureKept(rows, RatioToBest{.threshold = {{0.25}}});
  EXPECT_DOUBLE_EQ(ratio.mean_experts, 3.5);  // 8 4 2 and all of 4 4 1 1
  EXPECT_DOUBLE_EQ(ratio.mass, 24.0 / 25);
}

TEST(GateMeasures, BisectionKeepsWhatWasWantedWithinOneRow) {
  const GateRows rows = RandomRows(6, 997);
  for (const KeptCurve& curve : MeasureKeptCurves(rows)) {
    EXPECT_FALSE(curve.settings.empty());
    for (const RuleSetting& of : curve.settings) {
      EXPECT_GE(of.mean_kept, static_cast<double>(of.wanted)) << curve.rule;
      EXPECT_LT(of.mean_kept, static_cast<double>(of.wanted) + 1.0 / 997) << curve.rule;
      const KeptShare kept = MeasureKept(rows, RuleAt(curve, of.parameter));
      EXPECT_DOUBLE_EQ(kept.mean_experts, of.mean_kept) << curve.rule;
      EXPECT_DOUBLE_EQ(kept.mass, of.kept_mass) << curve.rule;
    }
  }
}

TEST(GateMeasures, MoreExpertsKeepMoreMass) {
  for (const KeptCurve& curve : MeasureKeptCurves(RandomRows(8, 500))) {
    for (size_t i = 1; i < curve.settings.size(); ++i) {
      EXPECT_GT(curve.settings[i].mean_kept, curve.settings[i - 1].mean_kept) << curve.rule;
      EXPECT_GT(curve.settings[i].kept_mass, curve.settings[i - 1].kept_mass) << curve.rule;
    }
  }
}

TEST(GateMeasures, EqualRowsMoveTogether) {
  // All rows 4 2 1: a threshold in (1/2, 1] keeps one, in (1/4, 1/2] two; nothing lies between.
  std::vector<float> scores;
  for (int row = 0; row < 10; ++row) scores.insert(scores.end(), {4, 2, 1});
  const auto curves = MeasureKeptCurves(Rows(3, scores));
  const KeptCurve& ratio = CurveOf(curves, "ratio_to_best");
  ASSERT_EQ(ratio.settings.size(), 2u);
  EXPECT_DOUBLE_EQ(ratio.settings[0].parameter, 1);
  EXPECT_DOUBLE_EQ(ratio.settings[1].mean_kept, 2);
  EXPECT_DOUBLE_EQ(ratio.settings[1].kept_mass, 6.0 / 7);
  EXPECT_GT(ratio.settings[1].parameter, 0.25);
  EXPECT_LE(ratio.settings[1].parameter, 0.5);
  EXPECT_DOUBLE_EQ(ratio.fewest, 1);
}

TEST(GateMeasures, AnUnreachableMeanIsLeftOutAndTheFewestIsSaid) {
  // Equal scores: ratio keeps all at any threshold; aset as well; top-p and uniform may keep one.
  const auto curves = MeasureKeptCurves(Rows(4, {1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_THAT(CurveOf(curves, "ratio_to_best").settings, ::testing::IsEmpty());
  EXPECT_DOUBLE_EQ(CurveOf(curves, "ratio_to_best").fewest, 4);
  EXPECT_THAT(CurveOf(curves, "aset_derived").settings, ::testing::IsEmpty());
  EXPECT_EQ(CurveOf(curves, "top_p").settings.size(), 3u);
  EXPECT_EQ(CurveOf(curves, "uniform_top_k").settings.size(), 3u);
}

TEST(GateMeasures, ManyExpertsAskForFewTargets) {
  const auto curves = MeasureKeptCurves(RandomRows(64, 20));
  EXPECT_LE(CurveOf(curves, "uniform_top_k").settings.size(), 15u);
  EXPECT_THAT(MeasureKeptCurves(Rows(1, {1, 2})).front().settings, ::testing::IsEmpty());
}

TEST(GateMeasures, EntropyOfEachLayer) {
  // Layer 5: equal scores and all in one; layer 9: no row.
  const GateRows rows = {.top_k = 2, .moe_layer = {0, 0, 0}, .scores = {3, 3, 7, 0, 3, 1}};
  const GateRouting gates = MeasureGates(rows, {5, 9});
  EXPECT_EQ(gates.rows, 3);
  ASSERT_EQ(gates.entropy.size(), 2u);
  const double uneven = -(0.75 * std::log2(0.75) + 0.25 * std::log2(0.25));
  EXPECT_EQ(gates.entropy[0].layer, 5);
  EXPECT_NEAR(gates.entropy[0].mean, (1 + 0 + uneven) / 3, 1e-12);
  EXPECT_NEAR(gates.entropy[0].p50, uneven, 1e-12);
  EXPECT_NEAR(gates.entropy[0].p10, 0.2 * uneven, 1e-12);
  EXPECT_EQ(gates.entropy[1].rows, 0);
}

}  // namespace
}  // namespace moecast
