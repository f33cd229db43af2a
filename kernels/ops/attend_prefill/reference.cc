#include "kernels/ops/attend_prefill/reference.h"

#include "sim/base/check.h"

namespace moecast::kernels::reference {

Eigen::MatrixXd CausalAttention(const Eigen::MatrixXd& query, const Eigen::MatrixXd& keys,
                                const Eigen::MatrixXd& values, double scale,
                                Eigen::Index first_key) {
  SIM_CHECK(first_key >= 0 && first_key + query.rows() <= keys.rows());
  SIM_CHECK(keys.rows() == values.rows() && keys.cols() == query.cols());
  Eigen::MatrixXd out(query.rows(), values.cols());
  for (Eigen::Index i = 0; i < query.rows(); ++i) {
    const Eigen::Index seen = first_key + i + 1;
    const Eigen::VectorXd scores = scale * (keys.topRows(seen) * query.row(i).transpose());
    const Eigen::VectorXd weights = (scores.array() - scores.maxCoeff()).exp();
    out.row(i) = (weights.transpose() * values.topRows(seen)) / weights.sum();
  }
  return out;
}

}  // namespace moecast::kernels::reference
