// RatioToBest: an expert is computed while its score is not far below the best one's.
#pragma once

#include "sim/policy/experts/gate_row.h"

namespace moecast {

/// Keeps expert j while s_j >= threshold * s_1. NAEE drops the second of two experts when
/// s_2 < beta s_1, with beta the median of s_2 / s_1 in that layer. [Lu24]
struct RatioToBest {
  static constexpr bool kNeedsScores = true;
  PerMoeLayer threshold;  // in [0, 1]; 0 keeps all
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const RatioToBest&, const RatioToBest&) = default;
};

}  // namespace moecast
