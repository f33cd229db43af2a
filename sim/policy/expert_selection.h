// Expert selection: which of a token's ranked experts are computed. Token-level rules look at one
// token at one layer and are applied once, when routing is loaded; they cost nothing in the step
// loop. docs/model/replay.md, "Expert selection".
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace moecast {

/// One token at one MoE layer.
struct GateRow {
  int64_t moe_layer = 0;          // index among MoE layers
  std::span<const float> scores;  // [native_top_k], rank order; empty when not recorded
  int64_t native_top_k = 0;
};

/// The model's own top-k.
struct NativeTopK {
  [[nodiscard]] int64_t Kept(const GateRow& row) const { return row.native_top_k; }
  friend bool operator==(const NativeTopK&, const NativeTopK&) = default;
};

/// top_k := k in every MoE layer; never more than the native top-k. [Yang25 1.2a]
struct UniformTopK {
  int64_t k = 0;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const UniformTopK&, const UniformTopK&) = default;
};

/// An explicit top-k per MoE layer; made from a 4-tuple by LayerScheduleFromTuple or given as a
/// list. REQUIRES: one entry per MoE layer of the rows it is asked about.
struct LayerSchedule {
  std::vector<int64_t> k_per_moe_layer;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const LayerSchedule&, const LayerSchedule&) = default;
};

/// A rule keeps the best Kept() >= 1 experts of a row (INV-7).
using ExpertSelection = std::variant<NativeTopK, UniformTopK, LayerSchedule>;

/// Kept experts of a row under any rule. RETURNS: in [1, native_top_k].
int64_t KeptExperts(const ExpertSelection& rule, const GateRow& row);

/// The published 4-tuple of a layer schedule: top-k runs from b towards h over the first p layers
/// after layer 0, then from h towards e over the rest. [Yang25 1.2b]
struct ScheduleTuple {
  int64_t b = 0;
  int64_t h = 0;
  int64_t e = 0;
  int64_t p = 0;  // above model_layers - 1 it means all of them
  friend bool operator==(const ScheduleTuple&, const ScheduleTuple&) = default;
};

/// The 4-tuple rule, exactly as published: neither ramp reaches its end value and steps are rounded
/// half to even. The ramps run over model layers 1, 2, ..., dense ones included; an MoE layer 0,
/// which the published models do not have, takes b.
/// REQUIRES: b, h, e >= 1, p >= 0, every entry of `moe_layers` (model layer indices) in
/// [0, model_layers). RETURNS: one k per entry of `moe_layers`.
std::vector<int64_t> LayerScheduleFromTuple(const ScheduleTuple& tuple, int64_t model_layers,
                                            std::span<const int32_t> moe_layers);

/// Mean kept experts over MoE layers. REQUIRES: moe_layers >= 1.
double MeanKept(const ExpertSelection& rule, int64_t native_top_k, int64_t moe_layers);

}  // namespace moecast
