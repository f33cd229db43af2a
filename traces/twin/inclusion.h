// From the weights of experts to the chance that a row has them, and back, for rows drawn without
// replacement: the k first of exponential clocks whose rates are the weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moecast {

/// Chance that each expert is among the k drawn, 1 - exp(-w t) with t such that the chances add up
/// to k; within about a percent of the exact value for k >= 4. docs/model/twin.md, Eq. W3.
/// [Rosen72] REQUIRES: weights > 0, 1 <= k <= their number.
std::vector<double> InclusionOfWeights(std::span<const double> weights, int32_t k);

/// Weights with these chances: the inverse. REQUIRES: chances in (0, 1).
std::vector<double> WeightsOfInclusion(std::span<const double> chances);

}  // namespace moecast
