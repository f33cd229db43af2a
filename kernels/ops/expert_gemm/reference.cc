#include "kernels/ops/expert_gemm/reference.h"

#include <limits>

#include "sim/base/check.h"

namespace moecast::kernels::reference {

Eigen::MatrixXd GateUpSwiGlu(const Alignment& alignment, const Eigen::MatrixXd& x,
                             const std::vector<ExpertWeights>& experts) {
  SIM_CHECK(!experts.empty());
  const auto rows = static_cast<Eigen::Index>(alignment.slot_token.size());
  Eigen::MatrixXd act(rows, experts.front().gate.rows());
  for (size_t position = 0; position < alignment.active_experts.size(); ++position) {
    const ExpertWeights& expert = experts[static_cast<size_t>(alignment.active_experts[position])];
    for (int32_t row = alignment.offsets[position]; row < alignment.offsets[position + 1]; ++row) {
      const Eigen::VectorXd token =
          x.row(alignment.slot_token[static_cast<size_t>(row)]).transpose();
      const Eigen::ArrayXd gate = expert.gate * token;
      const Eigen::ArrayXd up = expert.up * token;
      act.row(row) = (gate / (1.0 + (-gate).exp()) * up).matrix().transpose();
    }
  }
  return act;
}

Eigen::MatrixXd Down(const Alignment& alignment, const Eigen::MatrixXd& act,
                     const std::vector<ExpertWeights>& experts) {
  SIM_CHECK(!experts.empty());
  Eigen::MatrixXd y(act.rows(), experts.front().down.rows());
  for (size_t position = 0; position < alignment.active_experts.size(); ++position) {
    const ExpertWeights& expert = experts[static_cast<size_t>(alignment.active_experts[position])];
    for (int32_t row = alignment.offsets[position]; row < alignment.offsets[position + 1]; ++row)
      y.row(row) = (expert.down * act.row(row).transpose()).transpose();
  }
  return y;
}

double RelativeError(const Eigen::MatrixXd& out, const Eigen::MatrixXd& expected) {
  SIM_CHECK(out.rows() == expected.rows() && out.cols() == expected.cols());
  if (out.size() == 0) return 0;
  if (!out.allFinite()) return std::numeric_limits<double>::infinity();
  return (out - expected).norm() / expected.norm();
}

}  // namespace moecast::kernels::reference
