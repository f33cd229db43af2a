// Float64 reference of rotary position embedding.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "kernels/ops/rope/rope_table.h"

namespace moecast::kernels::reference {

/// Rotates every head of `heads`, one row per (token, head), by its token's position.
///   values  [tokens * count, head], `count` heads per token
Eigen::MatrixXd Rope(const RopeShape& shape, int32_t count, const std::vector<int32_t>& positions,
                     const std::vector<double>& inverse_frequencies, double scale,
                     const Eigen::MatrixXd& values);

}  // namespace moecast::kernels::reference
