// Expert selection: which of a token's ranked experts are computed. Token-level rules look at one
// token at one layer and are applied once, when routing is loaded; they cost nothing in the step
// loop. docs/model/replay.md, "Expert selection".
#pragma once

#include <variant>

#include "sim/policy/experts/aset_derived.h"
#include "sim/policy/experts/gate_row.h"
#include "sim/policy/experts/layer_schedule.h"
#include "sim/policy/experts/ratio_to_best.h"
#include "sim/policy/experts/top_k.h"
#include "sim/policy/experts/top_p.h"

namespace moecast {

/// A rule keeps the best Kept() >= 1 experts of a row (INV-7).
using ExpertSelection =
    std::variant<NativeTopK, UniformTopK, LayerSchedule, RatioToBest, TopP, AsetDerived>;

/// Kept experts of a row under any rule. REQUIRES: scores, if the rule needs them.
/// RETURNS: in [1, native_top_k].
int64_t KeptExperts(const ExpertSelection& rule, const GateRow& row);

/// Whether the rule reads gate scores, so that routing without them cannot drive it.
bool NeedsScores(const ExpertSelection& rule);

/// Mean kept experts over MoE layers. REQUIRES: moe_layers >= 1, a rule that needs no scores.
double MeanKept(const ExpertSelection& rule, int64_t native_top_k, int64_t moe_layers);

}  // namespace moecast
