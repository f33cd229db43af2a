// What the synthesiser looks up: quantiles of distances, lengths and score ratios.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "traces/twin/routing_twin.h"

namespace moecast {

inline constexpr int kDistanceBits = 12;  // the distance's law is a table of this many index bits
inline constexpr int kRatioBits = 10;     // and so is each score ratio's

/// [2^kDistanceBits] quantiles of the distance to the token taken after. Eq. W4.
std::vector<int64_t> DistanceQuantiles(const RoutingTwin& twin);

/// Tokens at `place` in [0, 1) of evenly spaced quantiles, times `factor`, at least 1 unless the
/// only quantile is 0.
int64_t LengthAt(std::span<const double> quantiles, double place, double factor);

struct ScoreTables {
  std::vector<float> ratios;    // [layer][rank][2^kRatioBits]: score of rank + 1 over that of rank
  size_t ratios_per_layer = 0;  // 0 when one layer's serve all
};
/// Quantiles of U^gap. Eq. W6.
ScoreTables MakeScoreTables(const RoutingTwin& twin);

}  // namespace moecast
