// Router rules against rankings written out by hand and a naive sort.
#include "traces/import/router_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/base/rng.h"

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Ranked {
  std::vector<uint16_t> ids;
  std::vector<float> scores;
};

Ranked Rank(const CaptureModel& model, const std::vector<double>& logits,
            const std::vector<double>& bias = {}) {
  auto rule = RouterRule::Make(model);
  EXPECT_TRUE(rule.ok()) << ToString(rule.errors());
  const auto k = static_cast<size_t>(model.top_k);
  Ranked ranked{std::vector<uint16_t>(k), std::vector<float>(k)};
  EXPECT_TRUE(rule->Rank(logits, bias, ranked.ids, ranked.scores));
  return ranked;
}

TEST(RouterRule, SoftmaxOverAllExperts) {
  const Ranked ranked = Rank({.experts = 4, .top_k = 2}, {0, std::log(4), std::log(3), 0});
  EXPECT_THAT(ranked.ids, ElementsAre(1, 2));
  EXPECT_NEAR(ranked.scores[0], 4.0 / 9, 1e-6);
  EXPECT_NEAR(ranked.scores[1], 3.0 / 9, 1e-6);
}

TEST(RouterRule, SoftmaxOverTheChosenOnly) {
  const Ranked ranked = Rank({.experts = 4, .top_k = 2, .scoring = GateScoring::kSoftmaxAfterTopK},
                             {0, std::log(4), std::log(3), 0});
  EXPECT_NEAR(ranked.scores[0], 4.0 / 7, 1e-6);
  EXPECT_NEAR(ranked.scores[1], 3.0 / 7, 1e-6);
}

TEST(RouterRule, BiasChoosesButDoesNotScore) {
  const Ranked ranked =
      Rank({.experts = 3, .top_k = 1, .scoring = GateScoring::kSigmoidBias}, {0, 1, -1}, {0, 0, 1});
  EXPECT_THAT(ranked.ids, ElementsAre(2));
  EXPECT_NEAR(ranked.scores[0], 1 / (1 + std::exp(1.0)), 1e-6);
}

TEST(RouterRule, OnlyTheBestGroupsAreOpen) {
  // Groups {0,1}, {2,3}: the best expert is in the first, the best pair in the second.
  const std::vector<double> logits = {3, -9, 2, 2};
  EXPECT_THAT(Rank({.experts = 4, .top_k = 2, .groups = 2, .top_groups = 1}, logits).ids,
              ElementsAre(0, 1));
  EXPECT_THAT(Rank({.experts = 4,
                    .top_k = 2,
                    .scoring = GateScoring::kSigmoidBias,
                    .groups = 2,
                    .top_groups = 1},
                   logits, {0, 0, 0, 0})
                  .ids,
              ElementsAre(2, 3));
}

TEST(RouterRule, OneExpertOfEveryGroup) {
  EXPECT_THAT(Rank({.experts = 6,
                    .top_k = 3,
                    .scoring = GateScoring::kGroupSoftmax,
                    .groups = 3,
                    .top_groups = 3},
                   {5, 4, 0, 1, 3, 2})
                  .ids,
              ElementsAre(0, 4, 3));
}

TEST(RouterRule, EqualLogitsGoByNumber) {
  EXPECT_THAT(Rank({.experts = 4, .top_k = 3}, {1, 1, 1, 1}).ids, ElementsAre(0, 1, 2));
}

TEST(RouterRule, NotANumberIsRefused) {
  auto rule = RouterRule::Make({.experts = 2, .top_k = 1});
  std::vector<uint16_t> ids(1);
  const std::vector<double> logits = {0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_FALSE(rule->Rank(logits, {}, ids, {}));
}

TEST(RouterRule, ImpossibleGroupsAreRefused) {
  EXPECT_THAT(ToString(RouterRule::Make({.experts = 6, .top_k = 2, .groups = 4}).errors()),
              HasSubstr("4 groups of 6 experts"));
  EXPECT_FALSE(RouterRule::Make({.experts = 4, .top_k = 3, .groups = 2, .top_groups = 1}).ok());
}

TEST(RouterRule, AgreesWithAStableSort) {
  RngStream rng(Seed{3}, "test/router");
  for (int round = 0; round < 200; ++round) {
    const auto experts = static_cast<int64_t>(2 + rng.NextBelow(60));
    const auto top_k = static_cast<int64_t>(1 + rng.NextBelow(static_cast<uint64_t>(experts)));
    std::vector<double> logits(static_cast<size_t>(experts));
    for (double& logit : logits) logit = static_cast<double>(rng.NextBelow(20));
    std::vector<uint16_t> expected(logits.size());
    std::iota(expected.begin(), expected.end(), uint16_t{0});
    std::ranges::stable_sort(expected,
                             [&](uint16_t a, uint16_t b) { return logits[a] > logits[b]; });
    expected.resize(static_cast<size_t>(top_k));
    EXPECT_EQ(Rank({.experts = experts, .top_k = top_k}, logits).ids, expected);
  }
}

}  // namespace
}  // namespace moecast
