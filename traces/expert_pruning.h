// ExpertPruning: a routing trace as the model without some of its experts would have made it. Kept
// experts are renumbered in order; every token takes its best ones among them.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/rng.h"
#include "traces/pruning_spec.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// How much every expert of every MoE layer is used.
class ExpertUse {
 public:
  explicit ExpertUse(const RoutingHeader& header);
  void Add(const RoutingChunk& chunk);
  /// [moe_layer][expert]: times chosen, or the sum of gate scores.
  [[nodiscard]] const std::vector<uint64_t>& counts() const { return counts_; }
  [[nodiscard]] const std::vector<double>& scores() const { return scores_; }

 private:
  size_t layers_;
  size_t experts_;
  size_t top_k_;
  std::vector<uint64_t> counts_;
  std::vector<double> scores_;  // zeros without scores
};

class ExpertPruning {
 public:
  /// `header` is the unpruned trace's. Ties stay with the lower expert. REQUIRES: the spec's sizes
  /// fit the header and `use`, which has scores where the order is kSoftCount and is not read
  /// for kRandom.
  ExpertPruning(const RoutingHeader& header, const PruningSpec& spec, const ExpertUse& use,
                Seed seed);
  /// Of pruned chunks: fewer experts, as many ranks as can be.
  [[nodiscard]] const RoutingHeader& header() const { return pruned_; }
  /// Kept experts of a layer by their old numbers, ascending.
  [[nodiscard]] const std::vector<uint16_t>& kept(size_t moe_layer) const {
    return kept_[moe_layer];
  }
  /// Replaces the chunk's rows. A row with fewer recorded ranks than wanted is completed with the
  /// layer's most used kept experts, at score 0, and those of the top-k are counted.
  void Apply(RoutingChunk& chunk);
  /// Top-k places so far, and how many of them were completed.
  [[nodiscard]] uint64_t places() const { return places_; }
  [[nodiscard]] uint64_t completed() const { return completed_; }

 private:
  struct RankedExpert {
    uint16_t expert = 0;
    float score = 0;
  };
  void PruneRow(const RoutingChunk& chunk, size_t cell, size_t layer);

  RoutingHeader native_;
  RoutingHeader pruned_;
  std::vector<std::vector<uint16_t>> kept_;      // [moe_layer]
  std::vector<std::vector<uint16_t>> by_use_;    // [moe_layer]: new numbers, most used first
  std::vector<std::vector<uint16_t>> renumber_;  // [moe_layer][old]: new, or kUnknownExpert
  std::vector<RankedExpert> row_;                // reused
  std::vector<uint8_t> taken_;                   // [new expert], reused
  RoutingChunk out_;                             // reused
  uint64_t places_ = 0;
  uint64_t completed_ = 0;
};

}  // namespace moecast
