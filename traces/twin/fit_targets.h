// What a fitted twin is asked for: the trace's popularity without the part that few sequences add,
// and where the fit starts.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/twin/fit_input.h"
#include "traces/twin/twin_moments.h"

namespace moecast {

/// Lag from which on tokens have only the sequence in common: half the median length of a
/// sequence, a power of two in [2, 512].
int64_t FarLag(const TwinSample& sample);

/// Size of the blocks of adjacent experts whose co-occurrence in a row differs most from that of
/// independent draws; 0 when none differs by more than the noise. `independent` is drawn with the
/// same popularity.
int64_t GroupSize(const TwinSample& sample, const TwinSample& independent);

/// Wanted shares of rows, [domain][layer][expert]. docs/model/twin.md, Eqs. F1-F2.
std::vector<double> WantedInclusion(const FitInput& input, const TwinMoments& trace);

/// The twin that the first round draws from.
RoutingTwin FirstTwin(const FitInput& input, const TwinMoments& trace,
                      const std::vector<double>& wanted);

}  // namespace moecast
