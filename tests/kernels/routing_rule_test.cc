// Sigmoid scores, group rules and batch rules of the routing reference: closed forms and what must
// hold for any batch, against a naive restatement.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kernels/ops/route/reference.h"
#include "sim/base/rng.h"

namespace moecast::kernels::reference {
namespace {

using Eigen::MatrixXd;

MatrixXd RandomLogits(const ExpertShape& shape, uint64_t seed) {
  RngStream rng({.seed = seed}, "test/logits");
  return MatrixXd::NullaryExpr(shape.tokens, shape.experts,
                               [&] { return 6 * rng.NextUniform() - 3; });
}

MatrixXd Row(const std::vector<double>& values) {
  return Eigen::Map<const Eigen::RowVectorXd>(values.data(),
                                              static_cast<Eigen::Index>(values.size()));
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

std::set<int32_t> Taken(const Selection& s, int32_t experts) {
  std::set<int32_t> taken(s.expert_of_slot.begin(), s.expert_of_slot.end());
  taken.erase(experts);
  return taken;
}

// The token's experts in the order of its logits.
std::vector<int32_t> ByLogit(const MatrixXd& logits, int32_t token) {
  std::vector<int32_t> order(static_cast<size_t>(logits.cols()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits(token, a) > logits(token, b); });
  return order;
}

constexpr ExpertShape kBatch{
    .tokens = 24, .top_k = 6, .experts = 40, .hidden = 64, .intermediate = 32};

TEST(SigmoidRouter, BiasDecidesTheChoiceAndNotTheWeight) {
  const ExpertShape shape{.tokens = 1, .top_k = 2, .experts = 4, .hidden = 64, .intermediate = 32};
  const RoutingRule rule{.score = {.score = ScoreKind::kSigmoid, .scale = 2.5F}};
  const MatrixXd logits = Row({2, 1, 0, -1});
  EXPECT_EQ(Select(shape, rule, {}, logits).expert_of_slot, (std::vector<int32_t>{0, 1}));
  const Selection biased = Select(shape, rule, {0, 0, 0, 1}, logits);
  EXPECT_EQ(biased.expert_of_slot, (std::vector<int32_t>{3, 0}));
  const double sum = Sigmoid(-1) + Sigmoid(2);
  EXPECT_NEAR(biased.weight_of_slot[0], 2.5 * Sigmoid(-1) / sum, 1e-12);
  EXPECT_NEAR(biased.weight_of_slot[1], 2.5 * Sigmoid(2) / sum, 1e-12);
}

TEST(GroupLimitedRouter, AGroupIsWorthItsTwoBestExperts) {
  // Groups of three: {3, -9, -9}, {2, 2, -9}, {1, 1, 1}. Two best sums: the second group leads.
  const ExpertShape shape{.tokens = 1, .top_k = 2, .experts = 9, .hidden = 64, .intermediate = 32};
  RoutingRule rule{.score = {.score = ScoreKind::kSigmoid,
                             .grouping = GroupKind::kLimited,
                             .groups = 3,
                             .kept_groups = 1}};
  const MatrixXd logits = Row({3, -9, -9, 2, 2, -9, 1, 1, 1});
  EXPECT_EQ(Select(shape, rule, {}, logits).expert_of_slot, (std::vector<int32_t>{3, 4}));
  rule.score.kept_groups = 2;  // the third: 2 * sigmoid(1) is more than sigmoid(3) + sigmoid(-9)
  EXPECT_EQ(Taken(Select(shape, rule, {}, logits), 9), (std::set<int32_t>{3, 4}));
  rule.score.kept_groups = 3;
  EXPECT_EQ(Select(shape, rule, {}, logits).expert_of_slot, (std::vector<int32_t>{0, 3}));
}

TEST(GroupLimitedRouter, StaysInsideTheAllowedNumberOfGroups) {
  RoutingRule rule{.score = {.score = ScoreKind::kSigmoid,
                             .grouping = GroupKind::kLimited,
                             .groups = 8,
                             .kept_groups = 3}};
  const Selection s = Select(kBatch, rule, {}, RandomLogits(kBatch, 3));
  for (int32_t t = 0; t < kBatch.tokens; ++t) {
    std::set<int32_t> groups;
    for (int32_t j = 0; j < kBatch.top_k; ++j)
      groups.insert(s.expert_of_slot[static_cast<size_t>(t * kBatch.top_k + j)] / 5);
    EXPECT_LE(groups.size(), 3U);
  }
}

TEST(BalancedRouter, TakesEquallyManyOfEveryGroupAndTheBestOfEach) {
  ExpertShape shape = kBatch;
  shape.top_k = 8;
  const RoutingRule rule{.score = {.grouping = GroupKind::kBalanced, .groups = 4}};
  const MatrixXd logits = RandomLogits(shape, 4);
  const Selection s = Select(shape, rule, {}, logits);
  for (int32_t t = 0; t < shape.tokens; ++t) {
    std::vector<int> of_group(4);
    for (int32_t j = 0; j < shape.top_k; ++j)
      ++of_group[static_cast<size_t>(s.expert_of_slot[static_cast<size_t>(t * shape.top_k + j)] /
                                     10)];
    EXPECT_EQ(of_group, (std::vector<int>{2, 2, 2, 2}));
    EXPECT_EQ(s.expert_of_slot[static_cast<size_t>(t * shape.top_k)], ByLogit(logits, t)[0]);
  }
}

TEST(Oea, IsTopKInsideTheUnionOfEveryTokensFirst) {
  const MatrixXd logits = RandomLogits(kBatch, 5);
  const RoutingRule rule{.batch = {.kind = BatchKind::kOea, .base_k = 2}};
  const Selection s = Select(kBatch, rule, {}, logits);
  std::set<int32_t> base;
  for (int32_t t = 0; t < kBatch.tokens; ++t) {
    const std::vector<int32_t> order = ByLogit(logits, t);
    base.insert(order.begin(), order.begin() + 2);
  }
  EXPECT_EQ(Taken(s, kBatch.experts), base);
  for (int32_t t = 0; t < kBatch.tokens; ++t) {
    std::vector<int32_t> expected;
    for (const int32_t e : ByLogit(logits, t)) {
      if (base.count(e) != 0 && expected.size() < 6) expected.push_back(e);
    }
    const auto first = s.expert_of_slot.begin() + t * kBatch.top_k;
    EXPECT_EQ(std::vector<int32_t>(first, first + kBatch.top_k), expected);
  }
}

TEST(Oea, BaseOfTopKIsTheNativeChoice) {
  const MatrixXd logits = RandomLogits(kBatch, 6);
  const RoutingRule rule{.batch = {.kind = BatchKind::kOea, .base_k = kBatch.top_k}};
  EXPECT_EQ(Select(kBatch, rule, {}, logits).expert_of_slot,
            Select(kBatch, {}, {}, logits).expert_of_slot);
}

TEST(Oea, AloneATokenKeepsItsBaseAndSkipsTheRest) {
  ExpertShape shape = kBatch;
  shape.tokens = 1;
  const MatrixXd logits = RandomLogits(shape, 7);
  const RoutingRule rule{.batch = {.kind = BatchKind::kOea, .base_k = 2}};
  const Selection s = Select(shape, rule, {}, logits);
  EXPECT_EQ(std::count(s.expert_of_slot.begin(), s.expert_of_slot.end(), shape.experts), 4);
  EXPECT_NEAR(std::accumulate(s.weight_of_slot.begin(), s.weight_of_slot.end(), 0.0), 1, 1e-12);
}

TEST(XShare, HoldsTheBudgetKeepsEveryBestAndGrowsWithTheBudget) {
  const MatrixXd logits = RandomLogits(kBatch, 8);
  std::set<int32_t> best;
  for (int32_t t = 0; t < kBatch.tokens; ++t) best.insert(ByLogit(logits, t)[0]);
  std::set<int32_t> smaller;
  for (const int32_t budget : {1, 16, 20, 30, 40}) {
    const RoutingRule rule{.batch = {.kind = BatchKind::kXShare, .budget = budget}};
    const Selection s = Select(kBatch, rule, {}, logits);
    const std::set<int32_t> taken = Taken(s, kBatch.experts);
    EXPECT_LE(taken.size(), std::max(static_cast<size_t>(budget), best.size()));
    EXPECT_TRUE(std::includes(taken.begin(), taken.end(), best.begin(), best.end()));
    EXPECT_GE(taken.size(), smaller.size());
    smaller = taken;
    for (int32_t t = 0; t < kBatch.tokens; ++t)
      EXPECT_EQ(s.expert_of_slot[static_cast<size_t>(t * kBatch.top_k)], ByLogit(logits, t)[0]);
  }
  EXPECT_EQ(Select(kBatch, {.batch = {.kind = BatchKind::kXShare, .budget = 40}}, {}, logits)
                .expert_of_slot,
            Select(kBatch, {}, {}, logits).expert_of_slot);
}

TEST(XShare, AddsByTheSumOfScoresOverTheBatch) {
  // Both tokens' best is expert 0; summed softmax scores rank 2 before 1 before 3.
  const ExpertShape shape{.tokens = 2, .top_k = 2, .experts = 4, .hidden = 64, .intermediate = 32};
  MatrixXd logits(2, 4);
  logits << std::log(0.5), std::log(0.3), std::log(0.15), std::log(0.05),  //
      std::log(0.5), std::log(0.08), std::log(0.32), std::log(0.1);
  const RoutingRule rule{.batch = {.kind = BatchKind::kXShare, .budget = 2}};
  EXPECT_EQ(Select(shape, rule, {}, logits).expert_of_slot, (std::vector<int32_t>{0, 2, 0, 2}));
}

TEST(BatchRules, MassIsThatOfTheTokensOwnBestWhateverTheSet) {
  const MatrixXd logits = RandomLogits(kBatch, 9);
  RoutingRule rule{.score = {.renormalise = Renormalise::kMass, .mass_k = 12}};
  const Selection native = Select(kBatch, rule, {}, logits);
  rule.batch = {.kind = BatchKind::kOea, .base_k = 1};
  const Selection shared = Select(kBatch, rule, {}, logits);
  for (size_t slot = 0; slot < native.expert_of_slot.size(); slot += 6)
    EXPECT_NEAR(shared.weight_of_slot[slot], native.weight_of_slot[slot], 1e-12);
}

}  // namespace
}  // namespace moecast::kernels::reference
