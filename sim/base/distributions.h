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
/// Gamma with the given shape (> 0) and scale (> 0). [MarsagliaTsang00]
double SampleGamma(RngStream& rng, double shape, double scale);
/// Lognormal given by the mean and the coefficient of variation of the variable itself.
double SampleLognormal(RngStream& rng, double mean, double cv);
/// Uniform integer in [low, high]. REQUIRES: low <= high.
int64_t SampleUniformInt(RngStream& rng, int64_t low, int64_t high);

/// Draws an index with probability proportional to its weight in O(1). [Vose91]
class AliasTable {
 public:
  /// REQUIRES: weights not empty, each >= 0 and finite, sum > 0.
  explicit AliasTable(std::span<const double> weights);
  [[nodiscard]] uint32_t Sample(RngStream& rng) const;

 private:
  std::vector<double> threshold_;
  std::vector<uint32_t> alias_;
};

/// Weights of a Zipf law: weight of rank i (from 0) is 1 / (i+1)^exponent.
std::vector<double> ZipfWeights(uint32_t count, double exponent);

}  // namespace moecast
