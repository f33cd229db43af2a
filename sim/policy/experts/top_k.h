// Rules that fix the number of experts: the model's own top-k, or one smaller k in every layer.
#pragma once

#include <algorithm>

#include "sim/policy/experts/gate_row.h"

namespace moecast {

/// The model's own top-k.
struct NativeTopK {
  static constexpr bool kNeedsScores = false;
  [[nodiscard]] int64_t Kept(const GateRow& row) const { return row.native_top_k; }
  friend bool operator==(const NativeTopK&, const NativeTopK&) = default;
};

/// top_k := k in every MoE layer; never more than the native top-k. [Yang25 1.2a]
struct UniformTopK {
  static constexpr bool kNeedsScores = false;
  int64_t k = 0;
  [[nodiscard]] int64_t Kept(const GateRow& row) const { return std::min(k, row.native_top_k); }
  friend bool operator==(const UniformTopK&, const UniformTopK&) = default;
};

}  // namespace moecast
