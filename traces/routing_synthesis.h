// Generates routing with given statistics, sequence by sequence: experts drawn without replacement
// from a law of the layer and of the sequence's topic, some repeated from an earlier token, and
// gate scores of a stated shape. docs/model/synthetic_routing.md has the equations and the fit to
// traces.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/rng.h"
#include "traces/expert_law.h"
#include "traces/routing_chunk.h"
#include "traces/routing_source_spec.h"

namespace moecast {

/// Equal seeds give equal ids and scores, under every compiler. Memory is one sequence.
class RoutingSynthesiser {
 public:
  /// REQUIRES: header.experts >= header.top_k >= 1, parameters in their stated ranges.
  RoutingSynthesiser(const SyntheticRouting& spec, RoutingHeader header, Seed seed);
  [[nodiscard]] const RoutingHeader& header() const { return header_; }
  /// The next sequence's prefill or decode chunk; false when all sequences are done. A phase of
  /// zero tokens has no chunk. COST: about 10 ns per id.
  bool Next(RoutingChunk& chunk);
  /// Topic of the sequence that Next gave last.
  [[nodiscard]] int64_t topic() const { return topic_; }

 private:
  void Generate(uint64_t sequence);
  void DrawToken(int64_t token, RngStream& rng);
  void DrawRow(int64_t layer, const uint16_t* repeated, uint16_t* row, RngStream& rng);
  uint16_t DrawUnused(std::span<const uint32_t> columns, RngStream& rng) const;
  void ScoreRow(float* scores, RngStream& rng) const;

  SyntheticRouting spec_;
  RoutingHeader header_;
  Seed seed_;
  ExpertLaw law_;
  int64_t row_ids_;                      // ids of one token: MoE layers * k
  uint32_t repeat_threshold_;            // chance to repeat, of 65536
  std::vector<int64_t> distances_;       // quantiles of the distance to the repeated token
  std::vector<float> ratios_;            // [rank][quantile]: score over the next better rank's
  float tail_ratio_ = 0;                 // scores of the experts not chosen, over the k-th's
  std::vector<uint64_t> chosen_in_row_;  // [expert]: the row that chose it last
  uint64_t row_ = 0;
  int64_t next_sequence_ = 0;
  int64_t topic_ = 0;
  bool decode_is_next_ = false;
  std::vector<uint16_t> ids_;  // [token][MoE layer][k] of the current sequence
  std::vector<float> scores_;  // same, or empty
};

}  // namespace moecast
