#include "kernels/ops/attend_prefill/reference.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast::kernels::reference {

Eigen::MatrixXd CausalAttention(const Eigen::MatrixXd& query, const Eigen::MatrixXd& keys,
                                const Eigen::MatrixXd& values, double scale, Eigen::Index first_key,
                                Eigen::Index window) {
  SIM_CHECK(first_key >= 0 && first_key + query.rows() <= keys.rows());
  SIM_CHECK(keys.rows() == values.rows() && keys.cols() == query.cols());
  Eigen::MatrixXd out(query.rows(), values.cols());
  for (Eigen::Index i = 0; i < query.rows(); ++i) {
    const Eigen::Index end = first_key + i + 1;
    const Eigen::Index seen = window > 0 ? std::min(window, end) : end;
    const Eigen::VectorXd scores =
        scale * (keys.middleRows(end - seen, seen) * query.row(i).transpose());
    const Eigen::VectorXd weights = (scores.array() - scores.maxCoeff()).exp();
    out.row(i) = (weights.transpose() * values.middleRows(end - seen, seen)) / weights.sum();
  }
  return out;
}

}  // namespace moecast::kernels::reference
