// References of norm, rotary embedding and sampling: closed forms and invariants.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/ops/norm/reference.h"
#include "kernels/ops/rope/reference.h"
#include "kernels/ops/sample/reference.h"

namespace moecast::kernels::reference {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

TEST(RmsNormReference, GivesRowsOfUnitRootMeanSquareAndIgnoresScale) {
  MatrixXd v(2, 4);
  v << 3, -3, 3, -3, 1, 2, 3, 4;
  const MatrixXd out = RmsNorm(v, VectorXd::Ones(4), 0);
  EXPECT_DOUBLE_EQ(out(0, 1), -1);
  EXPECT_NEAR(out.row(1).squaredNorm(), 4, 1e-12);
  EXPECT_TRUE(RmsNorm(7 * v, VectorXd::Ones(4), 0).isApprox(out, 1e-12));
  EXPECT_DOUBLE_EQ(RmsNorm(MatrixXd::Zero(1, 4), VectorXd::Ones(4), 1e-6).norm(), 0);
}

TEST(RmsNormReference, WeighsColumns) {
  VectorXd weight(2);
  weight << 2, -0.5;
  const MatrixXd out = RmsNorm(MatrixXd::Ones(1, 2), weight, 0);
  EXPECT_DOUBLE_EQ(out(0, 0), 2);
  EXPECT_DOUBLE_EQ(out(0, 1), -0.5);
}

TEST(InverseFrequencies, FallFromOneByTheBase) {
  const std::vector<double> f = InverseFrequencies(10000, 8);
  ASSERT_EQ(f.size(), 4U);
  EXPECT_DOUBLE_EQ(f[0], 1);
  EXPECT_DOUBLE_EQ(f[2], 0.01);
}

TEST(RopeTable, HoldsCosinesThenSinesTimesTheScale) {
  const std::vector<float> table = RopeTable({std::numbers::pi / 2}, 3, 2);
  EXPECT_EQ(table.size(), 4U);
  EXPECT_FLOAT_EQ(table[0], 3);
  EXPECT_FLOAT_EQ(table[1], 0);
  EXPECT_NEAR(table[2], 0, 1e-6);
  EXPECT_FLOAT_EQ(table[3], 3);
}

class RopeStyles : public ::testing::TestWithParam<RopeStyle> {
 protected:
  RopeShape shape_{
      .tokens = 1, .query_heads = 1, .key_heads = 1, .head = 6, .rotary = 4, .style = GetParam()};
  std::vector<double> frequencies_{1, 0.1};

  MatrixXd At(int32_t position, const MatrixXd& head) const {
    return Rope(shape_, 1, {position}, frequencies_, 1, head);
  }
};

TEST_P(RopeStyles, KeepsLengthsAndLeavesTheRestOfAHeadAlone) {
  const MatrixXd head = MatrixXd::Random(1, 6);
  const MatrixXd out = At(5, head);
  EXPECT_NEAR(out.norm(), head.norm(), 1e-12);
  EXPECT_EQ(out.rightCols(2), head.rightCols(2));
  EXPECT_EQ(At(0, head), head);
}

TEST_P(RopeStyles, ProductsDependOnTheDifferenceOfPositionsOnly) {
  const MatrixXd q = MatrixXd::Random(1, 6);
  const MatrixXd k = MatrixXd::Random(1, 6);
  const auto product = [&](int32_t a, int32_t b) { return At(a, q).row(0).dot(At(b, k).row(0)); };
  EXPECT_NEAR(product(7, 3), product(104, 100), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Both, RopeStyles,
                         ::testing::Values(RopeStyle::kNeox, RopeStyle::kInterleaved));

TEST(RopeReference, PairsNeighboursOrHalves) {
  RopeShape shape{.tokens = 1, .query_heads = 1, .key_heads = 0, .head = 4, .rotary = 4};
  MatrixXd head(1, 4);
  head << 1, 0, 0, 0;
  const std::vector<double> quarter_turns{std::numbers::pi / 2, 0};
  EXPECT_NEAR(Rope(shape, 1, {1}, quarter_turns, 1, head)(0, 2), 1, 1e-12);
  shape.style = RopeStyle::kInterleaved;
  EXPECT_NEAR(Rope(shape, 1, {1}, quarter_turns, 1, head)(0, 1), 1, 1e-12);
}

// Weights 4, 2, 1, 1 of tokens 2, 0, 1, 3 at temperature one.
const std::vector<double> kLogits{std::log(2.0), 0, std::log(4.0), 0};

int32_t Draw(SampleRule rule, double uniform) {
  rule.uniform = uniform;
  return Sample(kLogits, rule).token;
}

TEST(SampleReference, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(Sample(std::vector<double>{1, 3, 3, 2}, {}).token, 1);
}

TEST(SampleReference, DrawsByTheSummedWeightsOfTheOrderedTokens) {
  const SampleRule rule{.temperature = 1};
  EXPECT_EQ(Draw(rule, 0), 2);
  EXPECT_EQ(Draw(rule, 0.49), 2);
  EXPECT_EQ(Draw(rule, 0.51), 0);
  EXPECT_EQ(Draw(rule, 0.76), 1);
  EXPECT_EQ(Draw(rule, 0.99), 3);
}

TEST(SampleReference, TopKCutsAndKeepsValuesEqualToTheLast) {
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 1}, 0.99), 2);
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 2}, 0.66), 2);
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 2}, 0.67), 0);
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 3}, 0.99), 3);
}

TEST(SampleReference, TopPKeepsTheShortestPrefixOfEnoughWeight) {
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.5}, 0.99), 2);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.51}, 0.99), 0);
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 2, .top_p = 0.66}, 0.99), 2);
}

TEST(SampleReference, ColdDrawsAreGreedyAndMaskedTokensAreNeverTaken) {
  EXPECT_EQ(Draw({.temperature = 0.01}, 0.99), 2);
  const double masked = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(
      Sample(std::vector<double>{masked, -5, masked}, {.temperature = 1, .uniform = 0.9}).token, 1);
}

}  // namespace
}  // namespace moecast::kernels::reference
