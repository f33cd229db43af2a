// Decode attention in float64 from its definition, for one sequence and KV head.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops/attend/attend_shape.h"

namespace moecast::kernels::reference {

/// The tokens of a sequence of `length` that its query sees, ascending. `selected`: page numbers;
/// without a selection pass nullptr.
std::vector<int32_t> SeenTokens(const KvScheme& scheme, const VisibleTokens& visible,
                                const std::vector<int32_t>* selected, int32_t length);

/// [heads, head_dim] of query [heads, head_dim] over the `seen` rows of keys and values
/// [tokens, head_dim]; zero where none is seen.
Eigen::MatrixXd Attend(const Eigen::MatrixXd& query, const Eigen::MatrixXd& keys,
                       const Eigen::MatrixXd& values, std::span<const int32_t> seen,
                       double softmax_scale);

}  // namespace moecast::kernels::reference
