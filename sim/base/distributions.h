// Our own samplers, so that every libstdc++ and compiler draws the same numbers.
// Each draws from the given stream; the number of draws is not part of the contract.
#pragma once

#include <cstdint>

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

}  // namespace moecast
