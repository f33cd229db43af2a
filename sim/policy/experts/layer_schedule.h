// LayerSchedule: a top-k per MoE layer, given as a list or by the published 4-tuple.
#pragma once

#include <span>
#include <vector>

#include "sim/policy/experts/gate_row.h"

namespace moecast {

/// An explicit top-k per MoE layer; made from a 4-tuple by LayerScheduleFromTuple or given as a
/// list. REQUIRES: one entry per MoE layer of the rows it is asked about.
struct LayerSchedule {
  static constexpr bool kNeedsScores = false;
  std::vector<int64_t> k_per_moe_layer;
  [[nodiscard]] int64_t Kept(const GateRow& row) const;
  friend bool operator==(const LayerSchedule&, const LayerSchedule&) = default;
};

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

}  // namespace moecast
