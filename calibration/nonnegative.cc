#include "calibration/nonnegative.h"

#include <boost/container/static_vector.hpp>
#include <limits>
#include <optional>

#include "sim/base/check.h"

namespace moecast::calibration {
namespace {

/// Of at most kMostUnknowns, without a heap: most of a calibration's systems are solved here.
using SmallMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor,
                                  kMostUnknowns, kMostUnknowns>;
using SmallVector = Eigen::Matrix<double, Eigen::Dynamic, 1, Eigen::ColMajor, kMostUnknowns, 1>;
using Columns = boost::container::static_vector<Eigen::Index, kMostUnknowns>;

/// Normal equations with every column scaled to norm 1.
struct Normal {
  SmallMatrix gram;
  SmallVector right;
};

/// The free unknowns' least-squares values; nothing when one is negative or they are not unique.
std::optional<SmallVector> SolveFree(const Normal& normal, const Columns& free) {
  const auto count = static_cast<Eigen::Index>(free.size());
  SmallMatrix gram(count, count);
  SmallVector right(count);
  for (Eigen::Index i = 0; i < count; ++i) {
    right(i) = normal.right(free[static_cast<size_t>(i)]);
    for (Eigen::Index j = 0; j < count; ++j) {
      gram(i, j) = normal.gram(free[static_cast<size_t>(i)], free[static_cast<size_t>(j)]);
    }
  }
  const Eigen::LDLT<SmallMatrix> factors(gram);
  // Unit diagonal: a pivot this small is rounding.
  const double smallest = std::numeric_limits<double>::epsilon() * 64;
  if (factors.vectorD().minCoeff() <= smallest) return std::nullopt;
  SmallVector x = factors.solve(right);
  if (x.minCoeff() < 0) return std::nullopt;
  return x;
}

}  // namespace

Eigen::VectorXd NonNegativeLeastSquares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b) {
  SIM_CHECK(a.cols() <= kMostUnknowns && a.rows() == b.size());
  Eigen::VectorXd scale = a.colwise().norm();
  for (double& s : scale) s = s > 0 ? 1 / s : 0;
  const Eigen::MatrixXd scaled = a * scale.asDiagonal();
  const Normal normal{.gram = scaled.transpose() * scaled, .right = scaled.transpose() * b};
  Eigen::VectorXd best = Eigen::VectorXd::Zero(a.cols());
  double least = 0;  // |A x - b|^2 - |b|^2; what x = 0 gives
  Columns present;   // that are not all zero
  for (Eigen::Index i = 0; i < a.cols(); ++i) {
    if (scale(i) > 0) present.push_back(i);
  }
  for (unsigned set = 1; set < (1U << present.size()); ++set) {
    Columns free;
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
