#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ops/attend_prefill/reference.h"
#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

using Eigen::MatrixXd;

MatrixXd Drawn(RngStream& rng, Eigen::Index rows, Eigen::Index columns) {
  return MatrixXd::NullaryExpr(rows, columns, [&] { return 2 * rng.NextUniform() - 1; });
}

TEST(CausalAttention, FirstQueryWithoutPast_ReturnsItsOwnValue) {
  RngStream rng({.seed = 1}, "test/attention");
  const MatrixXd values = Drawn(rng, 3, 5);
  const MatrixXd out = reference::CausalAttention(Drawn(rng, 1, 4), Drawn(rng, 3, 4), values, 7, 0);
  EXPECT_TRUE(out.row(0).isApprox(values.row(0)));
}

TEST(CausalAttention, EqualScores_AverageWhatIsVisible) {
  RngStream rng({.seed = 2}, "test/attention");
  const MatrixXd values = Drawn(rng, 6, 3);
  const MatrixXd out =
      reference::CausalAttention(Drawn(rng, 2, 4), MatrixXd::Zero(6, 4), values, 1, 4);
  EXPECT_TRUE(out.row(0).isApprox(values.topRows(5).colwise().mean()));
  EXPECT_TRUE(out.row(1).isApprox(values.colwise().mean()));
}

TEST(CausalAttention, ScoreAndScale_FollowTheDefinition) {
  MatrixXd query(1, 1);
  query << 2;
  MatrixXd keys(2, 1);
  keys << 0, 3;
  MatrixXd values(2, 1);
  values << 0, 1;
  const double weight = std::exp(0.5 * 2 * 3);
  const MatrixXd out = reference::CausalAttention(query, keys, values, 0.5, 1);
  EXPECT_NEAR(out(0, 0), weight / (1 + weight), 1e-12);
}

TEST(CausalAttention, LargeScores_DoNotOverflow) {
  const MatrixXd query = MatrixXd::Constant(1, 1, 1e4);
  const MatrixXd keys = MatrixXd::Constant(2, 1, 1e4);
  EXPECT_DOUBLE_EQ(reference::CausalAttention(query, keys, MatrixXd::Constant(2, 1, 3), 1, 1)(0, 0),
                   3);
}

TEST(CausalAttention, Window_EqualsAttentionOverTheNewestKeysAlone) {
  RngStream rng({.seed = 3}, "test/attention");
  const MatrixXd query = Drawn(rng, 4, 8);
  const MatrixXd keys = Drawn(rng, 10, 8);
  const MatrixXd values = Drawn(rng, 10, 2);
  const MatrixXd sliding = reference::CausalAttention(query, keys, values, 1, 6, 3);
  for (Eigen::Index i = 0; i < query.rows(); ++i) {
    const MatrixXd alone = reference::CausalAttention(query.row(i), keys.middleRows(4 + i, 3),
                                                      values.middleRows(4 + i, 3), 1, 2);
    EXPECT_TRUE(sliding.row(i).isApprox(alone.row(0)));
  }
}

TEST(CausalAttention, WindowWiderThanTheContext_ChangesNothing) {
  RngStream rng({.seed = 4}, "test/attention");
  const MatrixXd query = Drawn(rng, 3, 4);
  const MatrixXd keys = Drawn(rng, 5, 4);
  const MatrixXd values = Drawn(rng, 5, 4);
  EXPECT_EQ(reference::CausalAttention(query, keys, values, 1, 2, 100),
            reference::CausalAttention(query, keys, values, 1, 2));
}

TEST(CausalAttention, OrderOfVisibleKeys_DoesNotMatter) {
  RngStream rng({.seed = 5}, "test/attention");
  const MatrixXd query = Drawn(rng, 1, 4);
  const MatrixXd keys = Drawn(rng, 7, 4);
  const MatrixXd values = Drawn(rng, 7, 3);
  const MatrixXd reversed =
      reference::CausalAttention(query, keys.colwise().reverse(), values.colwise().reverse(), 2, 6);
  EXPECT_TRUE(reversed.isApprox(reference::CausalAttention(query, keys, values, 2, 6)));
}

}  // namespace
}  // namespace moecast::kernels
