// Prints the statistics of a routing trace, each figure with how it was sampled.
#pragma once

#include <string>

#include "traces/routing_stats.h"

namespace moecast {

/// Tables for a terminal.
std::string RenderText(const RoutingStats& stats);
/// One JSON object on one line; numbers at full precision.
std::string RenderJson(const RoutingStats& stats);

}  // namespace moecast
