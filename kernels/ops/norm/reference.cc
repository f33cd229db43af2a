#include "kernels/ops/norm/reference.h"

#include "sim/base/check.h"

namespace moecast::kernels::reference {

Eigen::MatrixXd RmsNorm(const Eigen::MatrixXd& v, const Eigen::VectorXd& weight, double epsilon) {
  SIM_CHECK(v.cols() == weight.size());
  const Eigen::ArrayXd rms = (v.array().square().rowwise().mean() + epsilon).sqrt();
  return (v.array().colwise() / rms).matrix() * weight.asDiagonal();
}

}  // namespace moecast::kernels::reference
