// RoutingChunk: consecutive tokens of one sequence with the experts each token chose at every MoE
// layer, best first. The unit that readers, importers, the synthesiser and the replay table
// exchange.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/ids.h"

namespace moecast {

enum class RoutingPhase { kPrefill, kDecode };

/// What all chunks of one trace share.
struct RoutingHeader {
  std::string source;               // engine or generator, and version
  std::string model;                // name the trace was captured from
  std::vector<int32_t> moe_layers;  // model layer index of each MoE layer, ascending
  int32_t experts = 0;              // E, logical
  int32_t top_k = 0;                // k ranked ids per row
  int32_t further_ranks = 0;        // ids after the k-th that rows also have, of experts not chosen
  bool has_scores = false;          // gate score of each id is recorded
  /// A file keeps scores as whole multiples of this, 0 to 65535 of them; memory has float.
  double score_unit = 1.0 / 65535;
  friend bool operator==(const RoutingHeader&, const RoutingHeader&) = default;
};

/// What a trace says about one sequence; either may be empty.
struct RoutingSequence {
  std::string request_id;
  std::string category;  // domain label
  friend bool operator==(const RoutingSequence&, const RoutingSequence&) = default;
};

/// An id that means: this token's routing at this layer was not recorded. Kept and counted.
inline constexpr uint16_t kUnknownExpert = 0xffff;

/// `tokens` rows, each [moe_layer][k] ids in rank order; a row is unknown when its first id of a
/// layer is kUnknownExpert (then all k are).
struct RoutingChunk {
  SequenceId sequence;
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t first_position = 0;  // position of the first token in its sequence
  int64_t tokens = 0;
  std::vector<uint16_t> ids;  // [token][moe_layer][k]
  std::vector<float> scores;  // same shape, or empty; gate score, >= 0
  /// The next best experts, which the token did not use but a batch-aware rule may send it to.
  std::vector<uint16_t> further_ids;  // [token][moe_layer][further_ranks]
  std::vector<float> further_scores;  // same shape, or empty
};

}  // namespace moecast
