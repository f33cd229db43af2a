// What the token-level rules of expert selection would keep of a trace, and how decided its router
// is. Evaluates the rules themselves (sim/policy), so a setting found here means the same in a run.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/policy/expert_selection.h"
#include "traces/gate_routing.h"

namespace moecast {

/// What a rule keeps of a sample.
struct KeptShare {
  double mean_experts = 0;  // kept experts per row
  double mass = 0;          // scores of kept experts over those of all k, sums over rows
};

/// REQUIRES: at least one row.
KeptShare MeasureKept(const GateRows& rows, const ExpertSelection& rule);

/// Curves of uniform_top_k, ratio_to_best (which is aset_derived with penalty 0), top_p and
/// aset_derived with half a penalty, at mean kept experts 1 .. k - 1 (evenly thinned above 15 of
/// them), each parameter by bisection on the rows. REQUIRES: at least one row.
std::vector<KeptCurve> MeasureKeptCurves(const GateRows& rows);

/// Entropy of each layer, and the curves. `moe_layers`: model layer index of each MoE layer.
GateRouting MeasureGates(const GateRows& rows, const std::vector<int32_t>& moe_layers);

}  // namespace moecast
