#include "calibration/serving/robust_fit.h"

namespace moecast::serving {
namespace {

/// Second-order weight of a soft-L1 residual.
Eigen::VectorXd WeightsOf(const Eigen::VectorXd& residuals) {
  return residuals.unaryExpr([](double r) { return 1 / std::sqrt(1 + r * r); });
}

Eigen::MatrixXd Curvature(const Eigen::MatrixXd& derivative, const Eigen::VectorXd& residuals,
                          const Eigen::VectorXd& spread) {
  Eigen::MatrixXd curvature =
      derivative.transpose() * WeightsOf(residuals).asDiagonal() * derivative;
  curvature.diagonal() += spread.array().square().inverse().matrix();
  return curvature;
}

}  // namespace

double SoftLoss(const Eigen::VectorXd& residuals, const Eigen::VectorXd& z,
                const Eigen::VectorXd& spread) {
  double loss = (z.array() / spread.array()).square().sum();
  for (const double r : residuals) loss += 2 * (std::sqrt(1 + r * r) - 1);
  return loss;
}

Eigen::VectorXd RobustStep(const Eigen::MatrixXd& derivative, const Eigen::VectorXd& residuals,
                           const Eigen::VectorXd& z, const RobustProblem& problem, double damping) {
  const Eigen::VectorXd& spread = problem.prior_spread;
  Eigen::MatrixXd curvature = Curvature(derivative, residuals, spread);
  const Eigen::VectorXd slope =
      derivative.transpose() * WeightsOf(residuals).cwiseProduct(residuals) +
      (z.array() / spread.array().square()).matrix();
  curvature.diagonal() += damping * curvature.diagonal();
  constexpr double kMostMove = 1.5;  // of a logarithm in one step
  return (-curvature.ldlt().solve(slope)).cwiseMax(-kMostMove).cwiseMin(kMostMove);
}

Eigen::MatrixXd CovarianceOf(const Eigen::MatrixXd& derivative, const Eigen::VectorXd& residuals,
                             const Eigen::VectorXd& spread) {
  const Eigen::MatrixXd curvature = Curvature(derivative, residuals, spread);
  return curvature.ldlt().solve(Eigen::MatrixXd::Identity(curvature.rows(), curvature.cols()));
}

}  // namespace moecast::serving
