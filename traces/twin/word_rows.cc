#include "traces/twin/word_rows.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "sim/base/rng.h"
#include "traces/twin/inclusion.h"

namespace moecast {
namespace {

constexpr double kWhole = 1 << 20;  // quotas are whole multiples of 1 / kWhole

/// Shares of a layer's weight, mean of the domains by their shares.
std::vector<double> MeanWeights(const RoutingTwin& twin, size_t layer) {
  const auto experts = static_cast<size_t>(twin.header.experts);
  std::vector<double> mean(experts);
  for (const TwinDomain& domain : twin.domains) {
    std::vector<double> weights(experts);
    for (size_t e = 0; e < experts; ++e) {
      weights[e] = std::exp(domain.log_weights[layer * experts + e]);
    }
    const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (size_t e = 0; e < experts; ++e) mean[e] += domain.share * weights[e] / all;
  }
  return mean;
}

/// The words of one layer.
class LayerWords {
 public:
  LayerWords(const RoutingTwin& twin, size_t layer)
      : experts_(static_cast<size_t>(twin.header.experts)),
        group_(twin.groups.size > 0 ? static_cast<size_t>(twin.groups.size) : experts_),
        affinity_(twin.groups.size > 0 ? twin.groups.affinity[layer] : 1),
        rng_({.seed = twin.words.seed, .replication = 0}, "traces/routing/words", layer) {
    const std::vector<double> shares =
        InclusionOfWeights(MeanWeights(twin, layer), twin.header.top_k);
    const auto words = static_cast<double>(twin.words.count);
    for (const double share : shares) quota_.push_back(std::llround(share * words * kWhole));
  }

  void Draw(std::span<uint16_t> row) {
    std::vector<bool> chosen(experts_);
    std::vector<bool> group_chosen(experts_ / group_ + 1);
    for (uint16_t& id : row) {
      std::vector<uint64_t> weights(experts_);
      for (size_t e = 0; e < experts_; ++e) {
        if (chosen[e]) continue;
        const auto open = static_cast<double>(std::max<int64_t>(quota_[e], 1));
        weights[e] = static_cast<uint64_t>(
            std::llround(open * (group_chosen[e / group_] ? affinity_ : 1)) + 1);
      }
      const size_t expert = Pick(weights);
      id = static_cast<uint16_t>(expert);
      chosen[expert] = true;
      group_chosen[expert / group_] = true;
      quota_[expert] -= static_cast<int64_t>(kWhole);
    }
  }

 private:
  size_t Pick(std::span<const uint64_t> weights) {
    const uint64_t all = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
    uint64_t left = rng_.NextBelow(all);
    size_t expert = 0;
    while (left >= weights[expert]) left -= weights[expert++];
    return expert;
  }

  size_t experts_;
  size_t group_;
  double affinity_;
  RngStream rng_;
  std::vector<int64_t> quota_;  // [expert]: words still to choose it, in 1 / kWhole
};

}  // namespace

std::vector<uint16_t> DrawWordRows(const RoutingTwin& twin) {
  const size_t layers = twin.header.moe_layers.size();
  const auto top_k = static_cast<size_t>(twin.header.top_k);
  const auto words = static_cast<size_t>(twin.words.count);
  std::vector<uint16_t> rows(words * layers * top_k);
  for (size_t layer = 0; layer < layers; ++layer) {
    LayerWords of(twin, layer);
    for (size_t word = 0; word < words; ++word) {
      of.Draw(std::span(rows).subspan((word * layers + layer) * top_k, top_k));
    }
  }
  return rows;
}

}  // namespace moecast
