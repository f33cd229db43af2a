// ExpertSimilarity: for every expert of every MoE layer, the experts it may be replaced by, most
// similar first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moecast {

/// One pair of a similarity table.
struct SimilarPair {
  int64_t moe_layer = 0;
  uint16_t expert = 0;
  uint16_t replacement = 0;
  float similarity = 0;
  friend bool operator==(const SimilarPair&, const SimilarPair&) = default;
};

class ExpertSimilarity {
 public:
  /// Pairs below `least` are left out; among equals the lower replacement comes first.
  /// REQUIRES: layers, experts and replacements in range, expert != replacement.
  ExpertSimilarity(int64_t moe_layers, int64_t experts, std::vector<SimilarPair> pairs,
                   double least);
  [[nodiscard]] int64_t moe_layers() const { return moe_layers_; }
  [[nodiscard]] int64_t experts() const { return experts_; }
  /// Replacements of an expert, best first.
  [[nodiscard]] std::span<const uint16_t> Replacements(int64_t moe_layer, int64_t expert) const {
    const auto row = static_cast<size_t>(moe_layer * experts_ + expert);
    return std::span(order_).subspan(first_[row], first_[row + 1] - first_[row]);
  }
  friend bool operator==(const ExpertSimilarity&, const ExpertSimilarity&) = default;

 private:
  int64_t moe_layers_;
  int64_t experts_;
  std::vector<size_t> first_;  // [moe_layer][expert], and one past
  std::vector<uint16_t> order_;
};

}  // namespace moecast
