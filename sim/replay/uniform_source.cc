#include "sim/replay/uniform_source.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Pr(X = first + i) for X ~ Binomial(trials, q), without tails too light for a double to notice.
struct Binomial {
  int64_t first = 0;
  std::vector<double> probability;
};

/// Runs the ratio of neighbouring terms outwards from the mode and normalises.
Binomial BinomialTerms(int64_t trials, double q) {
  constexpr double kNegligible = 1e-18;
  const auto n = static_cast<double>(trials);
  const auto mode = std::min(trials, static_cast<int64_t>((n + 1) * q));
  std::vector<double> below;
  double term = 1;
  for (int64_t x = mode; x > 0; --x) {
    term *= static_cast<double>(x) * (1 - q) / ((n - static_cast<double>(x) + 1) * q);
    if (term < kNegligible) break;
    below.push_back(term);
  }
  Binomial result{.first = mode - std::ssize(below), .probability = {}};
  result.probability.assign(below.rbegin(), below.rend());
  result.probability.push_back(1);
  term = 1;
  for (int64_t x = mode; x < trials; ++x) {
    term *= (n - static_cast<double>(x)) * q / ((static_cast<double>(x) + 1) * (1 - q));
    if (term < kNegligible) break;
    result.probability.push_back(term);
  }
  double sum = 0;
  for (const double p : result.probability) sum += p;
  for (double& p : result.probability) p /= sum;
  return result;
}

/// Pr(j of the rank's experts are among the k that one token picks), j = 0 .. k: k draws without
/// replacement.
std::vector<double> HitProbabilities(const UniformRank& rank) {
  std::vector<double> hits(static_cast<size_t>(rank.k) + 1);
  hits[0] = 1;
  for (int64_t drawn = 0; drawn < rank.k; ++drawn) {
    const auto left = static_cast<double>(rank.experts - drawn);
    for (int64_t j = drawn; j >= 0; --j) {
      const double owned_left = static_cast<double>(std::max<int64_t>(0, rank.rank_experts - j));
      const double next = hits[static_cast<size_t>(j)] * owned_left / left;
      hits[static_cast<size_t>(j) + 1] += next;
      hits[static_cast<size_t>(j)] -= next;
    }
  }
  return hits;
}

/// The rows of one expert: X ~ Binomial(rows - 1, q) from the other tokens, plus, when the first
/// token picked this expert, that token and its copies.
class ExpertRows {
 public:
  ExpertRows(const UniformRank& rank, const UniformBatch& batch)
      : rank_(rank),
        q_(static_cast<double>(rank.k) / static_cast<double>(rank.experts)),
        others_(BinomialTerms(batch.rows - 1, q_)),
        copies_(1 + batch.padding) {
    double cumulative = 0;
    for (const double p : others_.probability) {
      cumulative += p;
      log_at_most_.push_back(std::log(std::min(1.0, cumulative)));
    }
    log_at_most_.back() = 0;
  }

  /// E[ceil(rows / tile)].
  [[nodiscard]] double ExpectedTiles() const {
    const int64_t tile = rank_.tile_rows;
    double tiles = 0;
    for (size_t i = 0; i < others_.probability.size(); ++i) {
      const int64_t x = others_.first + static_cast<int64_t>(i);
      const int64_t without = (x + tile - 1) / tile;
      const int64_t with = (x + copies_ + tile - 1) / tile;
      tiles += others_.probability[i] *
               ((1 - q_) * static_cast<double>(without) + q_ * static_cast<double>(with));
    }
    return tiles;
  }

  /// E[max over the rank's experts] = sum over x >= 0 of 1 - Pr(all <= x), given how many of them
  /// the first token hits, the other tokens' X taken as independent between experts.
  [[nodiscard]] double ExpectedMaximum() const {
    const std::vector<double> hits = HitProbabilities(rank_);
    const int64_t last = others_.first + std::ssize(others_.probability) - 1 + copies_;
    auto maximum = static_cast<double>(others_.first);  // every expert has that many
    for (int64_t x = others_.first; x < last; ++x) {
      for (size_t j = 0; j < hits.size(); ++j) {
        if (hits[j] <= 0) continue;
        const auto hit = static_cast<double>(j);
        const double missed = static_cast<double>(rank_.rank_experts) - hit;
        const double log_all =
            (missed > 0 ? missed * LogAtMost(x) : 0) + (hit > 0 ? hit * LogAtMost(x - copies_) : 0);
        maximum += hits[j] * (1 - std::exp(log_all));
      }
    }
    return maximum;
  }

 private:
  [[nodiscard]] double LogAtMost(int64_t x) const {
    if (x < others_.first) return -std::numeric_limits<double>::infinity();
    return log_at_most_[std::min(log_at_most_.size() - 1, static_cast<size_t>(x - others_.first))];
  }

  UniformRank rank_;
  double q_;
  Binomial others_;
  int64_t copies_;
  std::vector<double> log_at_most_;  // ln Pr(X <= first + i)
};

}  // namespace

ExpertLoad ExpectedUniformLoad(const UniformRank& rank, const UniformBatch& batch) {
  SIM_CHECK(rank.k >= 1 && rank.k <= rank.experts && batch.rows >= 1 && batch.padding >= 0);
  const double q = static_cast<double>(rank.k) / static_cast<double>(rank.experts);
  const auto owned = static_cast<double>(rank.rank_experts);
  const auto rows = static_cast<double>(batch.rows);
  const ExpertRows expert(rank, batch);
  return {.assignments = (rows + static_cast<double>(batch.padding)) * q * owned,
          .distinct = -owned * std::expm1(rows * std::log1p(-q)),
          .padded_rows = owned * expert.ExpectedTiles() * static_cast<double>(rank.tile_rows),
          .max_expert = expert.ExpectedMaximum()};
}

UniformSource::UniformSource(int64_t moe_layers, int64_t experts, std::vector<int64_t> k_per_layer,
                             LoadShape shape)
    : experts_(experts), k_per_layer_(std::move(k_per_layer)), shape_(shape) {
  SIM_CHECK(std::ssize(k_per_layer_) == moe_layers);
  SIM_CHECK(shape.expert_ranks >= 1 && experts % shape.expert_ranks == 0);
}

const ExpertLoad& UniformSource::LoadOf(int64_t k, const UniformBatch& batch) {
  auto known = std::ranges::find(known_, k, &Known::k);
  if (known == known_.end())
    known = known_.insert(known_.end(), Known{.k = k, .batch = {}, .load = {}});
  if (known->batch.rows != batch.rows || known->batch.padding != batch.padding) {
    known->batch = batch;
    known->load = ExpectedUniformLoad({.experts = experts_,
                                       .rank_experts = experts_ / shape_.expert_ranks,
                                       .k = k,
                                       .tile_rows = shape_.tile_rows},
                                      batch);
  }
  return known->load;
}

void UniformSource::Count(std::span<const RoutedSpan> spans, int64_t padding_rows,
                          std::span<ExpertLoad> loads, const StepLoad& /*load*/) {
  SIM_CHECK(std::ssize(loads) == std::ssize(k_per_layer_) * shape_.expert_ranks);
  UniformBatch batch{.rows = 0, .padding = padding_rows};
  for (const RoutedSpan& span : spans) {
    batch.rows += span.rows;
    (span.phase == RoutingPhase::kPrefill ? notes_.prefill_rows : notes_.decode_rows) +=
        static_cast<uint64_t>(span.rows);
  }
  if (batch.rows == 0) {
    std::ranges::fill(loads, ExpertLoad{});
    return;
  }
  notes_.padding_rows += static_cast<uint64_t>(padding_rows);
  auto* load = loads.data();
  for (const int64_t k : k_per_layer_) {
    load = std::fill_n(load, shape_.expert_ranks, LoadOf(k, batch));
  }
  AddMixed(loads);
}

/// All experts are alike, so a rank's mixed ones have their share of its touched experts and tiles.
void UniformSource::AddMixed(std::span<ExpertLoad> loads) const {
  const int64_t block = experts_ / shape_.expert_ranks;
  for (const int64_t expert : shape_.mixed_experts) {
    for (auto at = static_cast<size_t>(expert / block); at < loads.size();
         at += static_cast<size_t>(shape_.expert_ranks)) {
      loads[at].mixed_distinct += loads[at].distinct / static_cast<double>(block);
      loads[at].mixed_padded_rows += loads[at].padded_rows / static_cast<double>(block);
    }
  }
}

}  // namespace moecast
