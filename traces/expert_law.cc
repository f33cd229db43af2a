#include "traces/expert_law.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/quantile_functions.h"

namespace moecast {
namespace {

constexpr uint32_t kColumnShare = 1u << 16;  // whole shares per column; a layer has experts * this

/// exp(scale * (z - skew * (z^2 - 1))) at the normal quantiles z of the ranks. Eq. S1.
std::vector<double> RankWeights(size_t experts, double scale, double skew) {
  std::vector<double> weights(experts);
  for (size_t rank = 0; rank < experts; ++rank) {
    const double z =
        NormalQuantile((static_cast<double>(rank) + 1.0 / 2.0) / static_cast<double>(experts));
    weights[rank] = std::exp(scale * (z - skew * (z * z - 1)));
  }
  return weights;
}

/// Fisher-Yates.
void Shuffle(std::span<double> values, RngStream& rng) {
  for (size_t last = values.size(); last > 1; --last) {
    std::swap(values[last - 1], values[rng.NextBelow(last)]);
  }
}

/// Whole shares in proportion to the weights, each at least 1, adding up to experts * kColumnShare.
void ToShares(std::span<const double> weights, std::span<uint32_t> shares) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  const uint64_t total = uint64_t{kColumnShare} * weights.size();
  const double scale = static_cast<double>(total - weights.size()) / sum;
  uint64_t given = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    shares[i] = 1 + static_cast<uint32_t>(weights[i] * scale);
    given += shares[i];
  }
  // Rounding down leaves fewer than one share per expert; rounding of `scale` at most a few more.
  uint32_t& largest = *std::max_element(shares.begin(), shares.end());
  largest = static_cast<uint32_t>(largest + total - given);
}

}  // namespace

ExpertLaw::ExpertLaw(const ExpertLawSpec& spec, Seed seed)
    : experts_(static_cast<size_t>(spec.experts)), seed_(seed) {
  SIM_CHECK(spec.layers >= 0 && spec.experts >= 1 && spec.experts < kColumnShare);
  SIM_CHECK(spec.spread >= 0 && spec.topic_strength >= 0 && spec.topic_strength <= 1);
  topic_weights_ = RankWeights(experts_, spec.spread * std::sqrt(spec.topic_strength), 0);
  const std::vector<double> by_rank =
      RankWeights(experts_, spec.spread * std::sqrt(1 - spec.topic_strength), spec.skew);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    RngStream rng(seed, "traces/routing/layer", static_cast<uint64_t>(layer));
    layer_weights_.insert(layer_weights_.end(), by_rank.begin(), by_rank.end());
    Shuffle(std::span(layer_weights_).last(experts_), rng);
  }
  columns_.resize(layer_weights_.size());
  shares_.resize(experts_);
}

void ExpertLaw::SetTopic(uint64_t topic) {
  if (topic_ == static_cast<int64_t>(topic)) return;
  topic_ = static_cast<int64_t>(topic);
  RngStream rng(seed_, "traces/routing/topic", topic);
  for (size_t first = 0; first < columns_.size(); first += experts_) {
    weights_ = topic_weights_;
    Shuffle(weights_, rng);
    for (size_t expert = 0; expert < experts_; ++expert) {
      weights_[expert] *= layer_weights_[first + expert];
    }
    BuildColumns(weights_, std::span(columns_).subspan(first, experts_));
  }
}

// Each column holds kColumnShare shares of its own expert and of at most one other. [Vose91]
void ExpertLaw::BuildColumns(std::span<const double> weights, std::span<uint32_t> columns) {
  ToShares(weights, shares_);
  below_.clear();
  above_.clear();
  for (uint32_t expert = 0; expert < columns.size(); ++expert) {
    (shares_[expert] < kColumnShare ? below_ : above_).push_back(expert);
  }
  while (!below_.empty()) {
    const uint32_t small = below_.back();
    const uint32_t large = above_.back();  // exists: the shares add up to whole columns
    below_.pop_back();
    columns[small] = shares_[small] << 16 | large;
    shares_[large] -= kColumnShare - shares_[small];
    if (shares_[large] >= kColumnShare) continue;
    above_.pop_back();
    below_.push_back(large);
  }
  for (const uint32_t expert : above_) columns[expert] = expert;  // either side is its own expert
}

}  // namespace moecast
