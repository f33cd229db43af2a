#include "calibration/serving/robust_fit.h"

#include <gtest/gtest.h>

namespace moecast::serving {
namespace {

using Eigen::VectorXd;

/// Residuals of a straight line at x = 0..4 with unit weights.
Result<VectorXd> Line(const VectorXd& z, double outlier) {
  VectorXd residuals(5);
  for (int x = 0; x < 5; ++x) residuals[x] = (z[0] + z[1] * x) - (1 + 0.5 * x);
  residuals[4] -= outlier;
  return Result<VectorXd>(residuals);
}

RobustProblem Problem(double spread) {
  return {
      .start = VectorXd::Zero(2), .prior_spread = VectorXd::Constant(2, spread), .most_steps = 50};
}

TEST(RobustFit, FindsAnExactSolutionUnderAWidePrior) {
  const auto fit = FitRobustly(Problem(1e4), [](const VectorXd& z) { return Line(z, 0); });
  ASSERT_TRUE(fit.ok());
  EXPECT_NEAR(fit->z[0], 1, 1e-3);
  EXPECT_NEAR(fit->z[1], 0.5, 1e-3);
  EXPECT_LT(fit->loss, 1e-4);
}

TEST(RobustFit, OneOutlierMovesTheFitLessThanLeastSquaresWould) {
  const auto fit = FitRobustly(Problem(1e4), [](const VectorXd& z) { return Line(z, 10); });
  ASSERT_TRUE(fit.ok());
  EXPECT_LT(fit->z[1], 0.5 + 2.0 / 2);  // least squares: 0.5 + 10 * 2 / 10
}

TEST(RobustFit, ATightPriorHoldsTheParameters) {
  const auto fit = FitRobustly(Problem(1e-3), [](const VectorXd& z) { return Line(z, 0); });
  ASSERT_TRUE(fit.ok());
  EXPECT_LT(fit->z.norm(), 1e-4);
}

TEST(RobustFit, TheLossNeverRises) {
  const RobustProblem problem = Problem(2);
  const auto fit = FitRobustly(problem, [](const VectorXd& z) { return Line(z, 3); });
  ASSERT_TRUE(fit.ok());
  EXPECT_LE(fit->loss, SoftLoss(*Line(problem.start, 3), problem.start, problem.prior_spread));
}

TEST(RobustFit, AnErrorOfTheEvaluationEndsIt) {
  const auto fit = FitRobustly(Problem(1), [](const VectorXd&) -> Result<VectorXd> {
    return Error{"no", "here"};
  });
  EXPECT_FALSE(fit.ok());
}

}  // namespace
}  // namespace moecast::serving
