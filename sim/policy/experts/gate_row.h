// GateRow: what a token-level rule of expert selection sees. A rule is a value with
//   int64_t Kept(const GateRow&) const    how many of the row's best experts are computed, in
//                                         [1, native_top_k] (INV-7)
//   static constexpr bool kNeedsScores    whether Kept reads the row's scores
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/check.h"

namespace moecast {

/// One token at one MoE layer.
struct GateRow {
  int64_t moe_layer = 0;          // index among MoE layers
  std::span<const float> scores;  // [native_top_k], rank order; empty when not recorded
  int64_t native_top_k = 0;
};

/// A parameter with one value for every MoE layer, or one per MoE layer.
struct PerMoeLayer {
  std::vector<double> values;
  [[nodiscard]] double At(int64_t moe_layer) const {
    if (values.size() == 1) return values.front();
    SIM_CHECK(moe_layer >= 0 && moe_layer < std::ssize(values));
    return values[static_cast<size_t>(moe_layer)];
  }
  friend bool operator==(const PerMoeLayer&, const PerMoeLayer&) = default;
};

}  // namespace moecast
