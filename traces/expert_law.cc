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

}  // namespace

ExpertLaw::ExpertLaw(int64_t experts, std::span<const double> topic_spread, Seed seed)
    : experts_(static_cast<size_t>(experts)),
      seed_(seed),
      has_topics_(
          std::any_of(topic_spread.begin(), topic_spread.end(), [](double s) { return s > 0; })) {
  SIM_CHECK(experts >= 1 && experts < kColumnShare);
  const std::vector<double> quantiles = NormalRankQuantiles(experts_);
  for (const double spread : topic_spread) {
    for (const double z : quantiles) topic_weights_.push_back(std::exp(spread * z));
  }
  columns_.resize(topic_weights_.size());
  shares_.resize(experts_);
}

void ExpertLaw::AddDomain(std::span<const double> log_weights) {
  SIM_CHECK(log_weights.size() == columns_.size());
  std::vector<double>& weights = weights_of_.emplace_back();
  for (const double log_weight : log_weights) weights.push_back(std::exp(log_weight));
}

void ExpertLaw::Set(size_t domain, uint64_t topic) {
  if (domain_ == static_cast<int64_t>(domain) && (topic_ == topic || !has_topics_)) return;
  domain_ = static_cast<int64_t>(domain);
  topic_ = topic;
  RngStream rng(seed_, "traces/routing/topic", topic);
  const std::vector<double>& domain_weights = weights_of_[domain];
  for (size_t first = 0; first < columns_.size(); first += experts_) {
    const auto by_rank = topic_weights_.begin() + static_cast<std::ptrdiff_t>(first);
    weights_.assign(by_rank, by_rank + static_cast<std::ptrdiff_t>(experts_));
    Shuffle(weights_, rng);
    for (size_t expert = 0; expert < experts_; ++expert) {
      weights_[expert] *= domain_weights[first + expert];
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
