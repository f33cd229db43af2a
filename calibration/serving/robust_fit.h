// FitRobustly: a few parameters by damped Gauss-Newton steps on residuals under a soft-L1 loss and
// normal priors, when every evaluation is a simulation: derivatives by differences, few steps.
// docs/model/engine_overheads.md, Eq. 1.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <optional>

#include "sim/base/result.h"

namespace moecast::serving {

struct RobustFit {
  Eigen::VectorXd z;           // the estimate; prior mean 0
  Eigen::VectorXd residuals;   // at z
  Eigen::MatrixXd covariance;  // of z, from the last derivatives and the priors
  double loss = 0;
  int evaluations = 0;
};

/// What the loop needs beyond the residuals.
struct RobustProblem {
  Eigen::VectorXd start;
  Eigen::VectorXd prior_spread;  // > 0
  int most_steps = 12;
};

/// sum over residuals of 2 (sqrt(1 + r^2) - 1), plus sum of (z / spread)^2.
double SoftLoss(const Eigen::VectorXd& residuals, const Eigen::VectorXd& z,
                const Eigen::VectorXd& spread);
/// One damped step from z: derivative rows are residuals, columns parameters.
Eigen::VectorXd RobustStep(const Eigen::MatrixXd& derivative, const Eigen::VectorXd& residuals,
                           const Eigen::VectorXd& z, const RobustProblem& problem, double damping);
Eigen::MatrixXd CovarianceOf(const Eigen::MatrixXd& derivative, const Eigen::VectorXd& residuals,
                             const Eigen::VectorXd& spread);

/// `evaluate(z)` gives Result<VectorXd> of weighted residuals, always of one size. Deterministic
/// when evaluate is. ERRORS: evaluate's.
template <class Evaluate>
Result<RobustFit> FitRobustly(const RobustProblem& problem, Evaluate evaluate) {
  constexpr double kDifference = 0.08;  // of a logarithm: above the grain of simulated latencies
  constexpr double kEnough = 1e-3;      // relative fall of the loss that ends the search
  constexpr double kMostDamping = 1e4;
  RobustFit fit{.z = problem.start, .residuals = {}, .covariance = {}};
  SIM_TRY(fit.residuals, evaluate(fit.z));
  fit.loss = SoftLoss(fit.residuals, fit.z, problem.prior_spread);
  fit.evaluations = 1;
  double damping = 1e-2;
  Eigen::MatrixXd derivative(fit.residuals.size(), fit.z.size());
  for (int step = 0; step < problem.most_steps; ++step) {
    for (Eigen::Index i = 0; i < fit.z.size(); ++i) {
      Eigen::VectorXd moved = fit.z;
      moved[i] += kDifference;
      SIM_TRY(const Eigen::VectorXd at, evaluate(moved));
      derivative.col(i) = (at - fit.residuals) / kDifference;
      ++fit.evaluations;
    }
    const double before = fit.loss;
    for (; damping < kMostDamping; damping *= 8) {
      const Eigen::VectorXd z =
          fit.z + RobustStep(derivative, fit.residuals, fit.z, problem, damping);
      SIM_TRY(const Eigen::VectorXd residuals, evaluate(z));
      ++fit.evaluations;
      const double loss = SoftLoss(residuals, z, problem.prior_spread);
      if (loss >= fit.loss) continue;
      fit.z = z;
      fit.residuals = residuals;
      fit.loss = loss;
      damping = std::max(damping / 8, 1e-3);
      break;
    }
    if (before - fit.loss <= kEnough * before) break;
  }
  fit.covariance = CovarianceOf(derivative, fit.residuals, problem.prior_spread);
  return fit;
}

}  // namespace moecast::serving
