// TopP: experts are computed until they hold a given share of the token's gate mass.
#pragma once

#include "sim/policy/experts/gate_row.h"

namespace moecast {

/// Keeps the shortest prefix with sum of kept scores >= mass * sum of the native top-k's. [Huang24]
struct TopP {
  static constexpr bool kNeedsScores = true;
  PerMoeLayer mass;  // in [0, 1]; 1 keeps all whose score is above 0
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const TopP&, const TopP&) = default;
};

}  // namespace moecast
