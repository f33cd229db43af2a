// Least squares with non-negative unknowns, for a handful of unknowns.
#pragma once

#include <Eigen/Dense>

namespace moecast::calibration {

/// The x >= 0 that minimises |A x - b|; among equals, the one with the fewest non-zeros. Columns of
/// zeros get 0. Exact: every set of free unknowns is tried.
/// REQUIRES: A has at most kMostUnknowns columns and as many rows as b.
/// COST: O(rows * columns^2 + 2^columns * columns^3).
inline constexpr int kMostUnknowns = 7;
Eigen::VectorXd NonNegativeLeastSquares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b);

}  // namespace moecast::calibration
