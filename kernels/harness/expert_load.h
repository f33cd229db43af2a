// What one launch asks of the card: the realised load of the experts and the compulsory bytes and
// operations that follow from it. docs/kernels.md, "Bytes and operations".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops/expert_shape.h"

namespace moecast::kernels {

/// Realised histogram of one layer: A, D, P and m of docs/measurement.md.
struct ExpertLoad {
  double assignments = 0;  // A: kept slots
  double distinct = 0;     // D: experts with at least one
  double padded_rows = 0;  // P: sum of the loads, each rounded up to kExpertTileRows
  double max_load = 0;     // m
};

/// `offsets` as the route op writes them: D + 1 ascending numbers.
ExpertLoad LoadOf(std::span<const int32_t> offsets);
ExpertLoad MeanLoad(std::span<const ExpertLoad> loads);

struct Traffic {
  double bytes = 0;
  double flops = 0;
};
Traffic operator+(Traffic a, Traffic b);

// bf16 weights and activations; each input byte once, each output byte once.
Traffic GateUpTraffic(const ExpertShape& shape, const ExpertLoad& load);
Traffic DownTraffic(const ExpertShape& shape, const ExpertLoad& load);
Traffic CombineTraffic(const ExpertShape& shape, const ExpertLoad& load);
/// Gate matrix and activations in, ids and weights of every slot out.
Traffic RouteTraffic(const ExpertShape& shape);
/// Router to combine, the intermediate activations written and read.
Traffic LayerTraffic(const ExpertShape& shape, const ExpertLoad& load);

/// The weights one launch reads: expert ids, each unique to its copy of the weights.
using TouchedWeights = std::vector<int64_t>;

/// Part of all weight reads that follow the last read of the same weights within fewer than
/// `window_bytes` of other weights, when `launches` repeat in a ring: what a cache of that size may
/// still hold. 0 when nothing is read.
/// COST: quadratic in the reads between two uses; a few thousand reads take milliseconds.
double WarmRatio(std::span<const TouchedWeights> launches, double bytes_per_weight,
                 double window_bytes);

}  // namespace moecast::kernels
