// Our own samplers, so that every libstdc++ and compiler draws the same numbers.
// Each draws from the given stream; the number of draws is not part of the contract.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {

/// Exponential with the given mean (> 0).
double SampleExponential(RngStream& rng, double mean);
/// Standard normal (inverse CDF, one uniform).
double SampleNormal(RngStream& rng);
/// Gamma with the given shape (> 0) and scale (> 0); its mean is shape * scale. [MarsagliaTsang00]
double SampleGamma(RngStream& rng, double shape, double scale);
/// Lognormal given by the mean (> 0) and the coefficient of variation (>= 0) of the variable
/// itself.
double SampleLognormal(RngStream& rng, double mean, double cv);
/// Uniform integer in [low, high]. REQUIRES: low <= high.
int64_t SampleUniformInt(RngStream& rng, int64_t low, int64_t high);

/// Draws an index with probability proportional to its weight in O(1). [Vose91]
class AliasTable {
 public:
  /// REQUIRES: 1 to 2^32 - 1 weights, each >= 0 and finite, sum > 0 and finite.
  explicit AliasTable(std::span<const double> weights);
  /// An index of positive weight.
  [[nodiscard]] uint32_t Sample(RngStream& rng) const;

 private:
  std::vector<double> threshold_;  // [index]: chance of keeping a uniformly drawn index
  std::vector<uint32_t> alias_;    // [index]: what replaces it otherwise
};

}  // namespace moecast
