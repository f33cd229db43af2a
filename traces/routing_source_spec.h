// RoutingSpec: where expert choices come from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <variant>

namespace moecast {

/// Replays a canonical routing trace (or raw arrays described by an import YAML).
struct ReplayRouting {
  std::filesystem::path path;
};

/// A generated trace with the given statistics, then replayed. The parameters are those of
/// `moecast trace synthesize`; docs/model/synthetic_routing.md gives their equations and fitted
/// values.
struct SyntheticRouting {
  double popularity_spread = 0;   // >= 0: deviation of an expert's gate logit, in nats; 0: even
  double popularity_skew = 0;     // in [0, 0.3]: above 0 few experts are rare, as in gpt-oss
  int64_t topics = 1;             // >= 1: each sequence has one topic with its own preferences
  double topic_strength = 0;      // in [0, 1]: share of the logit's variance that is the topic's
  double stickiness = 0;          // in [0, 1]: chance to repeat the choice of an earlier token
  double stickiness_decay = 0.5;  // > 0: how fast that earlier token's distance falls off
  double score_temperature = 1;   // > 0: spread of gate scores, small is peaked
  int64_t sequences = 128;        // distinct sequences generated
  int64_t prefill_tokens = 256;   // per sequence
  int64_t decode_tokens = 256;    // per sequence
  int64_t further_ranks = 8;      // >= 0: beyond the top-k, generated where a rule wants them
};

/// Independent uniform choice of experts, in closed form (expectations, not draws); for theory.
struct UniformRouting {};

using RoutingSpec = std::variant<SyntheticRouting, ReplayRouting, UniformRouting>;

}  // namespace moecast
