// The routing reference: closed forms, invariants and every skip rule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/ops/route/reference.h"
#include "sim/base/rng.h"

namespace moecast::kernels::reference {
namespace {

using Eigen::MatrixXd;

// Logits whose softmax is the given distribution.
MatrixXd LogitsOf(const std::vector<double>& p) {
  MatrixXd logits(1, static_cast<Eigen::Index>(p.size()));
  for (size_t e = 0; e < p.size(); ++e) logits(0, static_cast<Eigen::Index>(e)) = std::log(p[e]);
  return logits;
}

MatrixXd RandomLogits(const ExpertShape& shape, uint64_t seed) {
  RngStream rng({.seed = seed}, "test/logits");
  return MatrixXd::NullaryExpr(shape.tokens, shape.experts,
                               [&] { return 6 * rng.NextUniform() - 3; });
}

// p = .1 .4 .2 .3: ranks are experts 1, 3, 2, 0.
const std::vector<double> kDistribution{0.1, 0.4, 0.2, 0.3};
constexpr ExpertShape kOneToken{
    .tokens = 1, .top_k = 3, .experts = 4, .hidden = 64, .intermediate = 32};

std::vector<int32_t> Chosen(const SkipRule& rule) {
  return Select(kOneToken, {.skip = rule}, {}, LogitsOf(kDistribution)).expert_of_slot;
}

constexpr RoutingRule kPlain{.score = {.renormalise = Renormalise::kNone}};

TEST(RouteReference, RanksByScoreAndWeighsBySoftmax) {
  const Selection s = Select(kOneToken, kPlain, {}, LogitsOf(kDistribution));
  EXPECT_EQ(s.expert_of_slot, (std::vector<int32_t>{1, 3, 2}));
  EXPECT_NEAR(s.weight_of_slot[0], 0.4, 1e-12);
  EXPECT_NEAR(s.weight_of_slot[2], 0.2, 1e-12);
}

TEST(RouteReference, TiesGoToTheLowerExpertAndLeaveNoMargin) {
  const Selection s = Select(kOneToken, kPlain, {}, LogitsOf({0.25, 0.25, 0.25, 0.25}));
  EXPECT_EQ(s.expert_of_slot, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_DOUBLE_EQ(s.margin_of_token[0], 0);
}

TEST(RouteReference, UniformRuleKeepsTheFirstRanks) {
  EXPECT_EQ(Chosen({.kind = SkipKind::kUniform, .k = 2}), (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(Chosen({.kind = SkipKind::kUniform, .k = 0}), (std::vector<int32_t>{1, 4, 4}));
}

TEST(RouteReference, RatioRuleComparesWithTheBest) {
  // 0.3 / 0.4 = 0.75, 0.2 / 0.4 = 0.5.
  EXPECT_EQ(Chosen({.kind = SkipKind::kRatio, .threshold = 0.74F}),
            (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(Chosen({.kind = SkipKind::kRatio, .threshold = 0.76F}),
            (std::vector<int32_t>{1, 4, 4}));
}

TEST(RouteReference, TopPRuleKeepsTheShortestPrefixOfEnoughMass) {
  // Of the top three's 0.9: the best has 0.444, the best two 0.778.
  EXPECT_EQ(Chosen({.kind = SkipKind::kTopP, .threshold = 0.44F}), (std::vector<int32_t>{1, 4, 4}));
  EXPECT_EQ(Chosen({.kind = SkipKind::kTopP, .threshold = 0.7F}), (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(Chosen({.kind = SkipKind::kTopP, .threshold = 0.8F}), (std::vector<int32_t>{1, 3, 2}));
}

TEST(RouteReference, AsetDerivedRuleLowersItsBarWithTheEntropyOfTheTopK) {
  double entropy = 0;  // of 4, 3 and 2 ninths
  for (const double ninths : {4.0, 3.0, 2.0}) entropy -= ninths / 9 * std::log(ninths / 9);
  const double bar = 0.9 * (1 - 0.25 * entropy / std::log(3.0));  // 0.683
  ASSERT_GT(bar, 0.5);
  ASSERT_LT(bar, 0.75);
  EXPECT_EQ(Chosen({.kind = SkipKind::kAsetDerived, .threshold = 0.9F, .penalty = 0.25F}),
            (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(Chosen({.kind = SkipKind::kAsetDerived, .threshold = 0.9F, .penalty = 0.0F}),
            (std::vector<int32_t>{1, 4, 4}));
}

TEST(RouteReference, RenormalisationDividesByKeptMassOrByTheMassOfAnyCount) {
  const auto weights = [&](Renormalise norm, int32_t mass_k) {
    const RoutingRule rule{.score = {.renormalise = norm, .mass_k = mass_k, .scale = 2.5F},
                           .skip = {.kind = SkipKind::kUniform, .k = 2}};
    return Select(kOneToken, rule, {}, LogitsOf(kDistribution)).weight_of_slot;
  };
  EXPECT_NEAR(weights(Renormalise::kKept, 0)[0], 2.5 * 0.4 / 0.7, 1e-12);
  EXPECT_NEAR(weights(Renormalise::kMass, 3)[0], 2.5 * 0.4 / 0.9, 1e-12);
  EXPECT_NEAR(weights(Renormalise::kMass, 4)[0], 2.5 * 0.4, 1e-12);
  EXPECT_NEAR(weights(Renormalise::kNone, 0)[0], 2.5 * 0.4, 1e-12);
  EXPECT_DOUBLE_EQ(weights(Renormalise::kKept, 0)[2], 0);
}

TEST(RouteReference, EveryRuleKeepsTheBestOfEveryTokenAndOnlyExpertsOfNativeTopK) {
  const ExpertShape shape{
      .tokens = 50, .top_k = 6, .experts = 40, .hidden = 64, .intermediate = 32};
  const MatrixXd logits = RandomLogits(shape, 5);
  const Selection native = Select(shape, {}, {}, logits);
  for (const SkipRule& rule :
       {SkipRule{.kind = SkipKind::kUniform, .k = 3},
        SkipRule{.kind = SkipKind::kRatio, .threshold = 0.5F},
        SkipRule{.kind = SkipKind::kTopP, .threshold = 0.6F},
        SkipRule{.kind = SkipKind::kAsetDerived, .threshold = 0.8F, .penalty = 0.4F}}) {
    const Selection kept = Select(shape, {.skip = rule}, {}, logits);
    for (size_t slot = 0; slot < kept.expert_of_slot.size(); ++slot) {
      const bool skipped = kept.expert_of_slot[slot] == shape.experts;
      EXPECT_FALSE(skipped && slot % 6 == 0);
      EXPECT_TRUE(skipped || kept.expert_of_slot[slot] == native.expert_of_slot[slot]);
    }
    const double total =
        std::accumulate(kept.weight_of_slot.begin(), kept.weight_of_slot.end(), 0.0);
    EXPECT_NEAR(total, shape.tokens, 1e-9);
  }
}

TEST(AlignReference, RowsAreGroupedByExpertInTokenOrderWithoutSkippedSlots) {
  const ExpertShape shape{.tokens = 3, .top_k = 2, .experts = 5, .hidden = 64, .intermediate = 32};
  const Alignment a = Align(shape, {4, 1, 1, 5, 4, 5});
  EXPECT_EQ(a.active_experts, (std::vector<int32_t>{1, 4}));
  EXPECT_EQ(a.offsets, (std::vector<int32_t>{0, 2, 4}));
  EXPECT_EQ(a.slot_token, (std::vector<int32_t>{0, 1, 0, 2}));
  EXPECT_EQ(a.position_of_slot, (std::vector<int32_t>{2, 0, 1, -1, 3, -1}));
}

TEST(AlignReference, PositionsOfKeptSlotsAreAPermutationOfTheRows) {
  const ExpertShape shape{
      .tokens = 33, .top_k = 4, .experts = 17, .hidden = 64, .intermediate = 32};
  const SkipRule rule{.kind = SkipKind::kRatio, .threshold = 0.4F};
  const Selection s = Select(shape, {.skip = rule}, {}, RandomLogits(shape, 9));
  const Alignment a = Align(shape, s.expert_of_slot);
  std::vector<int32_t> rows;
  for (const int32_t row : a.position_of_slot) {
    if (row >= 0) rows.push_back(row);
  }
  std::sort(rows.begin(), rows.end());
  std::vector<int32_t> all(a.slot_token.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(rows, all);
  EXPECT_EQ(static_cast<size_t>(a.offsets.back()), a.slot_token.size());
  EXPECT_EQ(a.offsets.size(), a.active_experts.size() + 1);
}

TEST(CombineReference, SumsKeptRowsWithTheirWeights) {
  const ExpertShape shape{.tokens = 2, .top_k = 2, .experts = 3, .hidden = 2, .intermediate = 32};
  MatrixXd y(3, 2);
  y << 1, 2, 3, 4, 5, 6;
  const MatrixXd out = Combine(shape, {2, 0, -1, 1}, {0.5, 0.5, 0, 2}, y);
  EXPECT_DOUBLE_EQ(out(0, 0), 3);
  EXPECT_DOUBLE_EQ(out(0, 1), 4);
  EXPECT_DOUBLE_EQ(out(1, 0), 6);
  EXPECT_DOUBLE_EQ(out(1, 1), 8);
}

}  // namespace
}  // namespace moecast::kernels::reference
