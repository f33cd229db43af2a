// RoutingSpec: where expert choices come from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <variant>

namespace moecast {

/// Replays a canonical routing trace (or raw arrays described by an import YAML).
struct ReplayRouting { std::filesystem::path path; };

/// A generated trace with the given statistics, then replayed. Parameters are those of
/// `moecast trace synthesize`; see docs/model.md, "Synthetic routing".
struct SyntheticRouting {
  double popularity_exponent = 0;  // Zipf exponent of per-layer expert popularity; 0: even
  int64_t topics = 1;              // sequence-level topics, each with its own expert preferences
  double topic_strength = 0;       // in [0,1]: weight of the topic in the gate logits
  double stickiness = 0;           // in [0,1]: correlation of a token's logits with its predecessor's
  double score_temperature = 1;    // > 0: spread of gate scores, small is peaked
  int64_t sequences = 256;         // distinct sequences generated
  int64_t prefill_tokens = 512;    // per sequence
  int64_t decode_tokens = 512;     // per sequence
};

/// Independent uniform choice of experts, in closed form (expectations, not draws); for theory.
struct UniformRouting {};

using RoutingSpec = std::variant<SyntheticRouting, ReplayRouting, UniformRouting>;

}  // namespace moecast
