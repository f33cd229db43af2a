// ScheduleSearch: how many experts each layer should compute under a budget of experts per token.
// Searches over what a table says of every (layer, k): the gate mass a trace would keep, which is a
// proxy and no quality, or losses that somebody measured (Alloc-L). Deterministic.
// docs/model/expert_rules.md, "Schedule search".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/policy/experts/aset_derived.h"
#include "sim/policy/experts/layer_schedule.h"
#include "traces/gate_routing.h"

namespace moecast {

/// [moe_layer][k - 1]: what a layer is worth with k experts, higher is better.
using LayerWorth = std::vector<std::vector<double>>;

/// Share of a layer's gate mass that its best k experts hold, over the sample.
/// REQUIRES: at least one row of every MoE layer.
LayerWorth GateMassWorth(const GateRows& rows, int64_t moe_layers);

/// The list of k, 1 <= k <= top_k, whose worth sums to the most with at most `budget` experts over
/// all layers, exactly, by dynamic programming; among equals fewer experts, then fewer in the
/// earlier layers. REQUIRES: moe_layers <= budget. COST: layers * budget * top_k.
std::vector<int64_t> BestSchedule(const LayerWorth& worth, int64_t budget);

struct TupleChoice {
  ScheduleTuple tuple;
  std::vector<int64_t> k_per_moe_layer;
};
/// The 4-tuple whose schedule is worth the most among all b, h, e in 1 .. top_k and p in 1 ..
/// model_layers - 1 that keep the budget; among equals the first in that order.
/// REQUIRES: as BestSchedule. COST: top_k^3 * layers^2.
TupleChoice BestTuple(const LayerWorth& worth, int64_t budget, int64_t model_layers,
                      std::span<const int32_t> moe_layers);

/// Sum of the layers' worth over the number of layers.
double MeanWorth(const LayerWorth& worth, std::span<const int64_t> k_per_moe_layer);

/// An aset-derived rule with mean_k experts kept in every layer of the sample, as nearly as scores
/// allow, from above; of penalties 0, 0.1 .. 1 the one that keeps the most gate mass, the smallest
/// among equals. REQUIRES: as GateMassWorth; 1 <= mean_k <= top_k.
AsetDerived TuneAsetDerived(const GateRows& rows, int64_t moe_layers, double mean_k);

}  // namespace moecast
