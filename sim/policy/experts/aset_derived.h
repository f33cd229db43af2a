// AsetDerived: RatioToBest whose threshold falls when the router is undecided.
#pragma once

#include "sim/policy/experts/gate_row.h"

namespace moecast {

/// With q_j = s_j / sum of the native top-k's scores and H = -sum q_j ln q_j / ln k in [0, 1]:
/// keeps expert j while j <= min_k or s_j >= threshold * (1 - penalty * H) * s_1.
/// Derived from the abstract of ASET (entropy-penalised thresholding within the model's budget);
/// the published formula is not known to us, so results carry the name aset-derived. [Yang26]
struct AsetDerived {
  static constexpr bool kNeedsScores = true;
  PerMoeLayer threshold;  // in [0, 1]; 0 keeps all
  double penalty = 0;     // in [0, 1]; 0 is RatioToBest
  int64_t min_k = 1;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const AsetDerived&, const AsetDerived&) = default;
};

}  // namespace moecast
