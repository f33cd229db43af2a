#include "traces/expert_law.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"
#include "traces/twin/rank_quantiles.h"

namespace moecast {
namespace {

constexpr uint32_t kColumnShare = 1u << 16;  // whole shares per column; a layer has experts * this

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

/// [kind][layer * experts + expert]. Every expert has each quantile of the law in one kind, so that
/// kinds make no expert more popular than another. Eq. W3.
std::vector<double> KindWeights(const TwinKinds& kinds, size_t experts_of_layers) {
  const auto count = static_cast<size_t>(kinds.count);
  std::vector<double> by_rank = NormalRankQuantiles(count);
  for (double& weight : by_rank) weight = std::exp(kinds.spread * weight);
  std::vector<double> weights(count * experts_of_layers);
  RngStream rng({.seed = kinds.seed, .replication = 0}, "traces/routing/kinds");
  for (size_t i = 0; i < experts_of_layers; ++i) {
    Shuffle(by_rank, rng);
    for (size_t kind = 0; kind < count; ++kind) {
      weights[kind * experts_of_layers + i] = by_rank[kind];
    }
  }
  return weights;
}

}  // namespace

ExpertLaw::ExpertLaw(const RoutingTwin& twin, Seed seed)
    : experts_(static_cast<size_t>(twin.header.experts)),
      seed_(seed),
      has_topics_(std::any_of(twin.topic_spread.begin(), twin.topic_spread.end(),
                              [](double spread) { return spread > 0; })),
      has_columns_(static_cast<size_t>(twin.kinds.count)) {
  SIM_CHECK(experts_ >= 1 && experts_ < kColumnShare);
  const std::vector<double> quantiles = NormalRankQuantiles(experts_);
  for (const double spread : twin.topic_spread) {
    for (const double z : quantiles) topic_weights_.push_back(std::exp(spread * z));
  }
  for (const TwinDomain& domain : twin.domains) {
    std::vector<double>& weights = weights_of_.emplace_back();
    for (const double log_weight : domain.log_weights) weights.push_back(std::exp(log_weight));
  }
  if (twin.kinds.count > 1 && twin.kinds.spread > 0) {
    kind_weights_ = KindWeights(twin.kinds, topic_weights_.size());
  }
  columns_.resize(has_columns_.size() * topic_weights_.size());
  shares_.resize(experts_);
}

void ExpertLaw::Set(size_t domain, uint64_t topic) {
  if (domain_ == static_cast<int64_t>(domain) && (topic_ == topic || !has_topics_)) return;
  domain_ = static_cast<int64_t>(domain);
  topic_ = topic;
  std::fill(has_columns_.begin(), has_columns_.end(), false);
  weights_ = topic_weights_;
  RngStream rng(seed_, "traces/routing/topic", topic);
  for (size_t first = 0; first < weights_.size(); first += experts_) {
    Shuffle(std::span(weights_).subspan(first, experts_), rng);
  }
  const std::vector<double>& domain_weights = weights_of_[domain];
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] *= domain_weights[i];
}

void ExpertLaw::SetKind(size_t kind) {
  first_ = kind * weights_.size();
  if (has_columns_[kind]) return;
  has_columns_[kind] = true;
  for (size_t first = 0; first < weights_.size(); first += experts_) {
    std::span<const double> weights = std::span(weights_).subspan(first, experts_);
    if (!kind_weights_.empty()) {
      kind_layer_.assign(weights.begin(), weights.end());
      const double* of_kind = kind_weights_.data() + first_ + first;
      for (size_t e = 0; e < experts_; ++e) kind_layer_[e] *= of_kind[e];
      weights = kind_layer_;
    }
    BuildColumns(weights, std::span(columns_).subspan(first_ + first, experts_));
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
