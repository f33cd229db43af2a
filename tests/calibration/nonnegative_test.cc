#include "calibration/nonnegative.h"

#include <gtest/gtest.h>

#include "sim/base/rng.h"

namespace moecast::calibration {
namespace {

TEST(NonNegative, FindsAnInteriorSolutionExactly) {
  Eigen::MatrixXd a(3, 2);
  a << 1, 0, 0, 2, 1, 1;
  const Eigen::Vector2d x(3, 4);
  const Eigen::VectorXd found = NonNegativeLeastSquares(a, a * x);
  EXPECT_NEAR(found(0), 3, 1e-12);
  EXPECT_NEAR(found(1), 4, 1e-12);
}

TEST(NonNegative, HoldsWhatWouldBeNegativeAtZero) {
  Eigen::MatrixXd a(2, 2);
  a << 1, 1, 1, 2;
  const Eigen::Vector2d b(2, 1);  // unconstrained: (3, -1)
  const Eigen::VectorXd found = NonNegativeLeastSquares(a, b);
  EXPECT_EQ(found(1), 0);
  EXPECT_NEAR(found(0), 1.5, 1e-12);
}

TEST(NonNegative, IgnoresColumnsOfZerosAndEqualColumns) {
  Eigen::MatrixXd a(3, 3);
  a << 1, 0, 1, 2, 0, 2, 3, 0, 3;
  const Eigen::Vector3d b(2, 4, 6);
  const Eigen::VectorXd found = NonNegativeLeastSquares(a, b);
  EXPECT_EQ(found(1), 0);
  EXPECT_NEAR(found(0) + found(2), 2, 1e-9);
}

/// The optimality conditions of non-negative least squares [Lawson74]: the gradient is zero where x
/// is positive and not negative where x is zero.
TEST(NonNegative, MeetsTheOptimalityConditionsOnRandomProblems) {
  RngStream rng({.seed = 5}, "nonnegative", 0);
  for (int trial = 0; trial < 200; ++trial) {
    Eigen::MatrixXd a(12, 5);
    Eigen::VectorXd b(12);
    for (double& each : a.reshaped()) each = rng.NextUniform() - 0.3;
    for (double& each : b) each = rng.NextUniform() - 0.5;
    const Eigen::VectorXd x = NonNegativeLeastSquares(a, b);
    const Eigen::VectorXd gradient = a.transpose() * (a * x - b);
    for (Eigen::Index i = 0; i < x.size(); ++i) {
      ASSERT_GE(x(i), 0);
      if (x(i) > 0) {
        ASSERT_NEAR(gradient(i), 0, 1e-9) << "trial " << trial;
      } else {
        ASSERT_GE(gradient(i), -1e-9) << "trial " << trial;
      }
    }
  }
}

}  // namespace
}  // namespace moecast::calibration
