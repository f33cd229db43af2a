// Fits a twin to traces: measures them, draws a trace, measures that alike and moves the twin's
// parameters by the difference, a fixed number of rounds. docs/model/twin.md, "Fit".
#pragma once

#include <cstdint>

#include "sim/base/rng.h"
#include "traces/twin/fit_input.h"
#include "traces/twin/routing_twin.h"
#include "traces/twin/twin_moments.h"

namespace moecast {

struct TwinFitOptions {
  int rounds = 20;
  uint64_t rows_per_round = 1'000'000;  // (token, layer) rows drawn to be measured
  Seed seed = {1};
};

struct TwinFit {
  RoutingTwin twin;
  TwinMoments trace;  // what was asked for
  TwinMoments drawn;  // what the last round drew
};

/// COST: a few seconds: `rounds` traces drawn and measured. RETURNS: the same for the same input,
/// options and seed, under every compiler up to last-bit differences of the mathematics library.
TwinFit FitTwin(const FitInput& input, const TwinFitOptions& options);

}  // namespace moecast
