// EacPrefill: an expert that a prompt hardly uses is left out of that prompt.
#pragma once

#include <cstdint>
#include <span>

namespace moecast {

/// PESF of EAC-MoE: of l prompt tokens of one sequence that are computed together, expert e of E is
/// left out of a layer when fewer than threshold * l * k / E of them chose it. A token none of
/// whose experts is left computes no routed expert there. Decode keeps the native top-k. [EAC25]
struct EacPrefill {
  static constexpr bool kNeedsScores = false;
  double threshold = 0;  // alpha, in [0, E / k]; 0 keeps all
  /// Sets counts [expert] of one layer to 0 where the rule leaves the expert out.
  void Filter(int64_t tokens, int64_t top_k, std::span<uint32_t> counts) const;
  friend bool operator==(const EacPrefill&, const EacPrefill&) = default;
};

}  // namespace moecast
