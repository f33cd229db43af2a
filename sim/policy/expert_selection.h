// Expert selection: which of a token's ranked experts are computed. Token-level rules look at one
// token at one layer and are applied once, when routing is loaded; they cost nothing in the step loop.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace moecast {

/// One token at one MoE layer.
struct GateRow {
  int64_t moe_layer = 0;            // index among MoE layers
  std::span<const float> scores;    // [k], rank order; empty when not recorded
  int64_t native_top_k = 0;
};

/// The model's own top-k.
struct NativeTopK {
  [[nodiscard]] int64_t Kept(const GateRow& row) const { return row.native_top_k; }
};

/// top_k := k in every MoE layer. [Yang25 1.2a]
struct UniformTopK {
  int64_t k = 0;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
};

/// An explicit top-k per MoE layer; made from a 4-tuple by LayerScheduleFromTuple or given as a list.
struct LayerSchedule {
  std::vector<int64_t> k_per_moe_layer;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
};

/// A rule keeps the best Kept() >= 1 experts of a row (INV-7).
using ExpertSelection = std::variant<NativeTopK, UniformTopK, LayerSchedule>;

/// Kept experts of a row under any rule. RETURNS: in [1, native_top_k].
int64_t KeptExperts(const ExpertSelection& rule, const GateRow& row);

/// The published 4-tuple rule (b, h, e, p): top-k runs linearly from b to h over the first p of
/// `model_layers`-1 layers, then from h towards e, end points not reached, rounding half to even as
/// Python's round does; layer 0 is dense. RETURNS: one k per entry of `moe_layers`. [Yang25 1.2b]
struct ScheduleTuple { int64_t b = 0, h = 0, e = 0, p = 0; };
std::vector<int64_t> LayerScheduleFromTuple(const ScheduleTuple& tuple, int64_t model_layers, std::span<const int32_t> moe_layers);

/// Mean kept experts over MoE layers for token-independent rules.
double MeanKept(const ExpertSelection& rule, int64_t native_top_k, int64_t moe_layers);

}  // namespace moecast
