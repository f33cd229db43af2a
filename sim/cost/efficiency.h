// Efficiencies: the stated constants of the analytic cost model, by op class. Values come from
// scenarios/catalog/efficiencies/*.yaml with their sources; a calibrated profile replaces them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sim/base/units.h"
#include "sim/cost/error_band.h"
#include "sim/cost/rule_cost.h"
#include "sim/model/kv_scheme.h"

namespace moecast {

/// Fractions of datasheet peak that a class of kernels reaches when the bound is saturated, each in
/// (0, 1], and the fixed time of one launch of it inside a graph.
struct ClassEfficiency {
  double memory = 1;   // of HBM bandwidth (collectives: of fabric bandwidth)
  double compute = 1;  // of the dense peak
  Seconds fixed{};     // per op: launch gap, ramp and tail
};

struct Efficiencies {
  std::string name{};
  ClassEfficiency gemm{};
  ClassEfficiency experts{};  // fixed: of the whole pipeline of one MoE layer, alignment to combine
  ClassEfficiency route{};
  ClassEfficiency decode_attention{};  // also linear-attention state
  ClassEfficiency prefill_attention{};
  ClassEfficiency elementwise{};
  ClassEfficiency collective{};  // fixed: per collective, on top of the fabric's latency
  /// Share of decode_attention.memory left when the cache is read in codes of kNarrowWidths.
  std::array<double, kNarrowWidthCount> narrow_reads{1, 1, 1, 1};
  /// Share of experts.compute left when the experts' weights have 8 bits, and 4 or fewer.
  double expert_compute_8_bit = 1;
  double expert_compute_4_bit = 1;
  RuleCosts rules{};             // of expert selection, on top of routing, with a profile as well
  int64_t expert_tile_rows = 0;  // rows an expert's tile is padded to in the grouped GEMM
  Seconds host_per_step{};       // scheduler, input preparation, sampling hand-off
  Seconds host_per_sequence{};
  Seconds host_per_prefill_token{};  // of the prompt tokens a step computes
  Seconds host_per_request{};  // before a request is queued: receiving, tokenising; no step waits
  ErrorBand error{};           // of every analytic time, host times included
  Seconds eager_launch{};      // host time to launch one op when the step is not a replayed graph
  /// Per kernel priced by a profile, in every step: kernels are measured one behind another of
  /// their kind, whose start and end overlap; between different kernels they do not.
  Seconds graph_gap{};
  Seconds prompt_gap{};  // beyond graph_gap, in steps with prompts
  /// Beyond both, of a kernel that writes or, decoding, reads a cache in codes: its code is longer.
  Seconds narrow_gap{};
};

}  // namespace moecast
