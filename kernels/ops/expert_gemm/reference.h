// Float64 reference of the expert products, for tests and for the check that precedes every timing.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "kernels/ops/route/reference.h"

namespace moecast::kernels::reference {

/// One expert's weights.
struct ExpertWeights {
  Eigen::MatrixXd gate;  // [I, H]
  Eigen::MatrixXd up;    // [I, H]
  Eigen::MatrixXd down;  // [H, I]
};

/// act[row] = silu(gate x[token]) * (up x[token]) for every row of the alignment: [A, I].
Eigen::MatrixXd GateUpSwiGlu(const Alignment& alignment, const Eigen::MatrixXd& x,
                             const std::vector<ExpertWeights>& experts);

/// y[row] = down act[row]: [A, H].
Eigen::MatrixXd Down(const Alignment& alignment, const Eigen::MatrixXd& act,
                     const std::vector<ExpertWeights>& experts);

/// ||out - expected|| / ||expected||, Frobenius; infinite when any element of `out` is no number.
double RelativeError(const Eigen::MatrixXd& out, const Eigen::MatrixXd& expected);

}  // namespace moecast::kernels::reference
