// Attention in float64, one head of one sequence.
#pragma once

#include <Eigen/Core>

namespace moecast::kernels::reference {

/// Row i of the result is softmax(scale query_i . keys) values over keys 0 .. first_key + i, the
/// last `window` of them where that is not 0.
///   query [n, d]   keys [m, d]   values [m, e]
/// REQUIRES: 0 <= first_key, first_key + n <= m.
Eigen::MatrixXd CausalAttention(const Eigen::MatrixXd& query, const Eigen::MatrixXd& keys,
                                const Eigen::MatrixXd& values, double scale, Eigen::Index first_key,
                                Eigen::Index window = 0);

}  // namespace moecast::kernels::reference
