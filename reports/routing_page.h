// The plots of `moecast trace stats --report`: one HTML file that needs nothing else.
#pragma once

#include <string>

#include "traces/routing_stats.h"

namespace moecast {

/// HTML that is also well-formed XML, with inline SVG: per phase distinct experts and rank
/// imbalance by batch, popularity, kept mass by rule (with scores), imbalance by window.
std::string RenderRoutingPage(const RoutingStats& stats);

}  // namespace moecast
