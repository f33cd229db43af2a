// A twin from a scenario's few parameters, for models without a captured trace.
#pragma once

#include "sim/base/rng.h"
#include "traces/routing_source_spec.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

/// docs/model/twin.md, "From a few parameters". The seed deals the popular experts out to places.
/// REQUIRES: header.experts >= header.top_k >= 1, parameters in their stated ranges.
RoutingTwin TwinFromParameters(const SyntheticRouting& parameters, const RoutingHeader& header,
                               Seed seed);

}  // namespace moecast
