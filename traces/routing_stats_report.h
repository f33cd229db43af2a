// Prints the statistics of a routing trace, each figure with how it was sampled.
#pragma once

#include <string>
#include <string_view>

#include "traces/routing_stats.h"

namespace moecast {

/// "prefill" or "decode".
std::string_view Name(RoutingPhase phase);
/// "consecutive", "one_per_sequence" or "random_tokens".
std::string_view Name(BatchForming forming);
/// How batches were sampled, in words.
std::string Sampling(BatchForming forming, const RoutingStatsOptions& options);
/// The rule, and its penalty if it has one.
std::string RuleLabel(const KeptCurve& curve);

/// Tables for a terminal.
std::string RenderText(const RoutingStats& stats);
/// One JSON object on one line; numbers at full precision.
std::string RenderJson(const RoutingStats& stats);

}  // namespace moecast
