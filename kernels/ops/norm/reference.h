// Float64 reference of the residual addition and RMS normalisation.
#pragma once

#include <Eigen/Core>

namespace moecast::kernels::reference {

/// Row by row: weight * v / sqrt(mean(v^2) + epsilon). v [T, H], weight [H].
Eigen::MatrixXd RmsNorm(const Eigen::MatrixXd& v, const Eigen::VectorXd& weight, double epsilon);

}  // namespace moecast::kernels::reference
