// The rows of a twin's words: which experts each word chooses at each layer.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/twin/routing_twin.h"

namespace moecast {

/// RETURNS: [word][MoE layer][k]. An expert is in as many words as its share of the popularity
/// (mean of the domains) asks for, to within one, and groups repel or attract one another as in
/// other rows. COST: about 1 ns per (word, layer, rank, expert). REQUIRES: CheckTwin(twin) is ok.
std::vector<uint16_t> DrawWordRows(const RoutingTwin& twin);

}  // namespace moecast
