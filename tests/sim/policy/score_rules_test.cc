// The rules that read gate scores: closed forms, naive restatements, and how each answers its
// parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "sim/policy/expert_selection.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

GateRow Row(const std::vector<float>& scores, int64_t moe_layer = 0) {
  return {.moe_layer = moe_layer, .scores = scores, .native_top_k = std::ssize(scores)};
}

/// Falling scores in (0, 1], many of them equal.
std::vector<float> RandomScores(RngStream& rng) {
  std::vector<float> scores(1 + rng.NextBelow(12));
  for (float& score : scores) score = static_cast<float>(1 + rng.NextBelow(50)) / 50;
  std::sort(scores.rbegin(), scores.rend());
  return scores;
}

double Fraction(RngStream& rng) { return static_cast<double>(rng.NextBelow(101)) / 100; }

TEST(RatioToBest, KeepsScoresAtOrAboveTheShareOfTheBest) {
  const std::vector<float> scores = {0.5F, 0.25F, 0.125F, 0.0625F};
  EXPECT_EQ(KeptExperts(RatioToBest{{{0.0}}}, Row(scores)), 4);
  EXPECT_EQ(KeptExperts(RatioToBest{{{0.25}}}, Row(scores)), 3);
  EXPECT_EQ(KeptExperts(RatioToBest{{{0.26}}}, Row(scores)), 2);
  EXPECT_EQ(KeptExperts(RatioToBest{{{1.0}}}, Row(scores)), 1);
}

TEST(RatioToBest, TakesItsThresholdByLayer) {
  const std::vector<float> scores = {0.5F, 0.25F};
  const RatioToBest rule{{{0.4, 0.6}}};
  EXPECT_EQ(KeptExperts(rule, Row(scores, 0)), 2);
  EXPECT_EQ(KeptExperts(rule, Row(scores, 1)), 1);
}

TEST(TopP, KeepsTheShortestPrefixThatHoldsTheMass) {
  const std::vector<float> scores = {0.5F, 0.25F, 0.25F};
  EXPECT_EQ(KeptExperts(TopP{{{0.0}}}, Row(scores)), 1);
  EXPECT_EQ(KeptExperts(TopP{{{0.5}}}, Row(scores)), 1);
  EXPECT_EQ(KeptExperts(TopP{{{0.51}}}, Row(scores)), 2);
  EXPECT_EQ(KeptExperts(TopP{{{1.0}}}, Row(scores)), 3);
}

TEST(TopP, ScoresNeedNotSumToOne) { EXPECT_EQ(KeptExperts(TopP{{{0.75}}}, Row({4, 2, 1, 1})), 2); }

TEST(AsetDerived, AnUndecidedRouterKeepsMore) {
  const AsetDerived rule{.threshold = {{0.5}}, .penalty = 0.6, .min_k = 1};
  const std::vector<float> decided = {0.96F, 0.02F, 0.01F, 0.01F};
  EXPECT_EQ(KeptExperts(rule, Row(decided)), 1);
  // The second score is 0.4 of the best in both rows; entropy tells them apart.
  EXPECT_EQ(KeptExperts(rule, Row({0.5F, 0.2F, 0.01F, 0.01F})), 1 + 1);
  EXPECT_EQ(KeptExperts(rule, Row({0.5F, 0.15F, 0, 0})), 1);
}

TEST(AsetDerived, EqualScoresHaveEntropyOneAndLowerTheThresholdByThePenalty) {
  // H = 1 for the first rows' shares 1/2, 1/2 of two scores: bound = 1 * (1 - 1) * s.
  EXPECT_EQ(KeptExperts(AsetDerived{.threshold = {{1}}, .penalty = 1, .min_k = 1}, Row({1, 1})), 2);
}

TEST(AsetDerived, KeepsItsMinimumButNeverMoreThanTheModel) {
  const AsetDerived rule{.threshold = {{1}}, .penalty = 0, .min_k = 3};
  EXPECT_EQ(KeptExperts(rule, Row({8, 4, 2, 1})), 3);
  EXPECT_EQ(KeptExperts(rule, Row({8, 4})), 2);
}

TEST(AsetDerived, WithoutPenaltyItIsTheRatioRule) {
  test::ForAll("policy/aset without penalty", {.cases = 300}, [](RngStream& rng) {
    const std::vector<float> scores = RandomScores(rng);
    const PerMoeLayer threshold{{Fraction(rng)}};
    EXPECT_EQ(KeptExperts(AsetDerived{threshold, 0, 1}, Row(scores)),
              KeptExperts(RatioToBest{threshold}, Row(scores)));
  });
}

// The formula of the rule, slot by slot, with no early end.
int64_t NaiveAset(const std::vector<float>& scores, double threshold, double penalty,
                  int64_t min_k) {
  double total = 0;
  for (const float s : scores) total += s;
  double entropy = 0;
  for (const float s : scores) entropy -= s / total * std::log(s / total);
  if (scores.size() > 1) entropy /= std::log(static_cast<double>(scores.size()));
  int64_t kept = 0;
  for (size_t j = 0; j < scores.size(); ++j) {
    kept += static_cast<int64_t>(j) < min_k ||
            scores[j] >= threshold * (1 - penalty * entropy) * scores[0];
  }
  return kept;
}

TEST(AsetDerived, EqualsItsFormulaOnRandomRows) {
  test::ForAll("policy/aset formula", {.cases = 1000}, [](RngStream& rng) {
    const std::vector<float> scores = RandomScores(rng);
    const double threshold = Fraction(rng);
    const double penalty = Fraction(rng);
    const auto min_k = static_cast<int64_t>(1 + rng.NextBelow(4));
    EXPECT_EQ(KeptExperts(AsetDerived{{{threshold}}, penalty, min_k}, Row(scores)),
              NaiveAset(scores, threshold, penalty, min_k));
  });
}

TEST(ScoreRules, KeepTheBestStayInRangeAndAreMonotoneInTheirParameter_INV7) {
  test::ForAll("policy/score rules", {.cases = 500}, [](RngStream& rng) {
    const std::vector<float> scores = RandomScores(rng);
    const double low = Fraction(rng) / 2;
    const double high = low + Fraction(rng) / 2;
    const double penalty = Fraction(rng);
    const GateRow row = Row(scores);
    EXPECT_GE(KeptExperts(RatioToBest{{{low}}}, row), KeptExperts(RatioToBest{{{high}}}, row));
    EXPECT_LE(KeptExperts(TopP{{{low}}}, row), KeptExperts(TopP{{{high}}}, row));
    EXPECT_GE(KeptExperts(AsetDerived{{{low}}, penalty, 1}, row),
              KeptExperts(AsetDerived{{{high}}, penalty, 1}, row));
    EXPECT_LE(KeptExperts(AsetDerived{{{high}}, low, 1}, row),
              KeptExperts(AsetDerived{{{high}}, high, 1}, row));
  });
}

TEST(ScoreRules, NamesThoseThatNeedScores) {
  EXPECT_FALSE(NeedsScores(NativeTopK{}));
  EXPECT_FALSE(NeedsScores(UniformTopK{.k = 1}));
  EXPECT_FALSE(NeedsScores(LayerSchedule{}));
  EXPECT_TRUE(NeedsScores(RatioToBest{}));
  EXPECT_TRUE(NeedsScores(TopP{}));
  EXPECT_TRUE(NeedsScores(AsetDerived{}));
}

TEST(ScoreRulesDeathTest, ARowWithoutScoresIsAProgramError) {
  const GateRow row{.moe_layer = 0, .scores = {}, .native_top_k = 2};
  EXPECT_DEATH(KeptExperts(TopP{{{0.5}}}, row), "scores");
}

}  // namespace
}  // namespace moecast
