// Float64 reference of routing and combine, for tests and for the check that precedes every timing.
// Matrices are row-major in meaning: one row per token or per expert.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "kernels/ops/expert_shape.h"
#include "kernels/ops/route/routing_rule.h"

namespace moecast::kernels::reference {

/// Chosen slots of a layer, token-major: slot t * top_k + j is rank j of token t.
struct Selection {
  std::vector<int32_t> expert_of_slot;  // E where skipped
  std::vector<double> weight_of_slot;   // 0 where skipped
  /// Per token, the smallest distance of any of its decisions from going the other way: gaps
  /// between neighbouring ranks down to the last chosen, between groups or experts at the edge of
  /// what a group rule allows, between a score and its threshold, and of the batch's set. A token
  /// below the arithmetic's error may differ and be right.
  std::vector<double> margin_of_token;
};

/// Slots compacted by expert, in the order of docs/kernels.md, "Alignment".
struct Alignment {
  std::vector<int32_t> active_experts;    // [D] ascending
  std::vector<int32_t> offsets;           // [D + 1]
  std::vector<int32_t> slot_token;        // [A]
  std::vector<int32_t> position_of_slot;  // [T * k] row, or -1 where skipped
};

/// x [T, H] times gate [E, H] transposed: [T, E].
Eigen::MatrixXd GateLogits(const Eigen::MatrixXd& x, const Eigen::MatrixXd& gate);

/// Scores, batch set, top-k with ties to the lower expert, skip rule, renormalisation; see
/// routing_rule.h.
///   bias  [E], or empty for none
/// REQUIRES: logits is [shape.tokens, shape.experts], 1 <= top_k <= experts.
Selection Select(const ExpertShape& shape, const RoutingRule& rule, const std::vector<double>& bias,
                 const Eigen::MatrixXd& logits);

/// Rows of one expert in token order. REQUIRES: ids in [0, E], E meaning skipped.
Alignment Align(const ExpertShape& shape, const std::vector<int32_t>& expert_of_slot);

/// out [T, H] = sum over kept slots of weight * y[row], y [A, H].
Eigen::MatrixXd Combine(const ExpertShape& shape, const std::vector<int32_t>& position_of_slot,
                        const std::vector<double>& weight_of_slot, const Eigen::MatrixXd& y);

}  // namespace moecast::kernels::reference
