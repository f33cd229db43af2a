// Generates routing from a twin, sequence by sequence: experts drawn without replacement from a law
// of the layer, the sequence's domain and topic and the token's kind, some kept from an earlier
// token, and gate scores of a stated shape. docs/model/twin.md has the equations.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/base/rng.h"
#include "traces/expert_law.h"
#include "traces/group_limit.h"
#include "traces/routing_chunk.h"
#include "traces/routing_source_spec.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

/// Equal seeds give equal ids and scores, under every compiler; further ranks change none of them.
/// Memory is one sequence.
class RoutingSynthesiser {
 public:
  /// REQUIRES: CheckTwin(twin) is ok.
  RoutingSynthesiser(RoutingTwin twin, Seed seed);
  /// The twin that a scenario's parameters stand for.
  /// REQUIRES: header.experts >= header.top_k >= 1, parameters in their stated ranges.
  RoutingSynthesiser(const SyntheticRouting& spec, const RoutingHeader& header, Seed seed);
  [[nodiscard]] const RoutingHeader& header() const { return twin_.header; }
  /// The next sequence's prefill or decode chunk; false when all sequences are done. A phase of
  /// zero tokens has no chunk. COST: about 10 ns per id.
  bool Next(RoutingChunk& chunk);
  /// Topic of the sequence that Next gave last.
  [[nodiscard]] int64_t topic() const { return topic_; }
  /// Number of its domain.
  [[nodiscard]] size_t domain() const { return domain_; }
  /// Name of its domain, or "topic N" where the twin has only one domain.
  [[nodiscard]] std::string category() const;

 private:
  /// Of 65536: how often a rank of one layer keeps an earlier token's expert, and how readily a row
  /// takes an expert whose group it has or has not.
  struct LayerLaw {
    uint32_t keep = 0;
    uint32_t accept_inside = 0;
    uint32_t accept_outside = 0;
  };

  void SetLayerLaws();
  void SetScoreTables();
  void Generate(uint64_t sequence);
  void ChooseDomain(uint64_t sequence, RngStream& rng);
  void ChooseLengths(uint64_t sequence);
  void DrawToken(int64_t token, RngStream& rng, RngStream& further);
  size_t ChooseKind(int64_t token, int64_t distance, RngStream& rng);
  void DrawRow(int64_t layer, const uint16_t* earlier, uint16_t* row, RngStream& rng);
  void DrawFurther(int64_t layer, const uint16_t* earlier, uint16_t* row, RngStream& rng);
  void SetFurtherRatios();
  void ScoreFurther(int64_t token);
  void AssignFurther(RoutingChunk& chunk) const;
  uint16_t DrawUnused(int64_t layer, RngStream& rng) const;
  [[nodiscard]] bool Accepts(const LayerLaw& law, uint16_t expert, uint64_t word) const;
  void ScoreRow(int64_t layer, float* scores, RngStream& rng) const;

  RoutingTwin twin_;
  Seed seed_;
  ExpertLaw law_;
  int64_t row_ids_;                   // ids of one token: MoE layers * k
  std::vector<LayerLaw> layer_laws_;  // [MoE layer]
  std::vector<uint16_t> words_;       // [word][MoE layer][k]
  std::vector<int64_t> distances_;    // quantiles of the distance to the earlier token
  std::vector<float> ratios_;         // [layer][rank][quantile]: score over the better rank's
  size_t ratios_per_layer_ = 0;       // 0 when all layers are alike
  std::vector<float> tail_ratios_;    // [layer]: scores of the experts not chosen over the k-th's
  std::vector<uint64_t> chosen_in_row_;  // [expert]: the row that chose it last
  std::vector<uint64_t> group_in_row_;   // [group]: the row that had it last
  std::vector<uint16_t> group_of_;       // [expert]
  uint64_t row_ = 0;
  int64_t next_sequence_ = 0;
  size_t domain_ = 0;
  int64_t topic_ = 0;
  int64_t prefill_ = 0;  // tokens of the current sequence
  int64_t decode_ = 0;
  bool decode_is_next_ = false;
  std::vector<uint16_t> kinds_;  // [token] of the current sequence
  std::vector<uint16_t> ids_;    // [token][MoE layer][k] of the current sequence
  std::vector<float> scores_;    // same, or empty
  GroupLimit limit_;
  int64_t further_row_ids_;            // further ids of one token
  std::vector<float> further_ratios_;  // [MoE layer]: score of a further rank over the one before
  std::vector<uint16_t> further_ids_;  // [token][MoE layer][further rank] of the current sequence
  std::vector<float> further_scores_;  // same, or empty
};

}  // namespace moecast
