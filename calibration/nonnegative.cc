#include "calibration/nonnegative.h"

#include <limits>
#include <optional>
#include <vector>

#include "sim/base/check.h"

namespace moecast::calibration {
namespace {

/// Normal equations with every column scaled to norm 1.
struct Normal {
  Eigen::MatrixXd gram;
  Eigen::VectorXd right;
};

/// The free unknowns' least-squares values; nothing when one is negative or they are not unique.
std::optional<Eigen::VectorXd> SolveFree(const Normal& normal, const std::vector<int>& free) {
  const auto count = static_cast<Eigen::Index>(free.size());
  Eigen::MatrixXd gram(count, count);
  Eigen::VectorXd right(count);
  for (Eigen::Index i = 0; i < count; ++i) {
    right(i) = normal.right(free[static_cast<size_t>(i)]);
    for (Eigen::Index j = 0; j < count; ++j) {
      gram(i, j) = normal.gram(free[static_cast<size_t>(i)], free[static_cast<size_t>(j)]);
    }
  }
  const Eigen::LDLT<Eigen::MatrixXd> factors(gram);
  // Unit diagonal: a pivot this small is rounding.
  const double smallest = std::numeric_limits<double>::epsilon() * 64;
  if (factors.vectorD().minCoeff() <= smallest) return std::nullopt;
  Eigen::VectorXd x = factors.solve(right);
  if (x.minCoeff() < 0) return std::nullopt;
  return x;
}

}  // namespace

Eigen::VectorXd NonNegativeLeastSquares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b) {
  SIM_CHECK(a.cols() <= kMostUnknowns && a.rows() == b.size());
  const auto unknowns = static_cast<int>(a.cols());
  Eigen::VectorXd scale = a.colwise().norm();
  for (double& s : scale) s = s > 0 ? 1 / s : 0;
  const Eigen::MatrixXd scaled = a * scale.asDiagonal();
  const Normal normal{.gram = scaled.transpose() * scaled, .right = scaled.transpose() * b};
  Eigen::VectorXd best = Eigen::VectorXd::Zero(unknowns);
  double least = 0;          // |A x - b|^2 - |b|^2; what x = 0 gives
  std::vector<int> present;  // columns that are not all zero
  for (int i = 0; i < unknowns; ++i) {
    if (scale(i) > 0) present.push_back(i);
  }
  for (unsigned set = 1; set < (1U << present.size()); ++set) {
    std::vector<int> free;
    for (size_t i = 0; i < present.size(); ++i) {
      if ((set >> i & 1U) != 0) free.push_back(present[i]);
    }
    const auto x = SolveFree(normal, free);
    if (!x) continue;
    double loss = 0;  // at the least squares of the free set: -x . right
    for (size_t i = 0; i < free.size(); ++i)
      loss -= (*x)(static_cast<Eigen::Index>(i)) * normal.right(free[i]);
    if (loss >= least) continue;
    least = loss;
    best.setZero();
    for (size_t i = 0; i < free.size(); ++i) {
      best(free[i]) = (*x)(static_cast<Eigen::Index>(i)) * scale(free[i]);
    }
  }
  return best;
}

}  // namespace moecast::calibration
