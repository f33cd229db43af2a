#include "traces/twin/parametric_twin.h"

#include <cmath>
#include <span>

#include "sim/base/check.h"
#include "traces/twin/rank_quantiles.h"

namespace moecast {
namespace {

/// A layer's log weights by rank, dealt out to experts. Eq. P1.
std::vector<double> Popularity(const SyntheticRouting& parameters, size_t layers, size_t experts,
                               Seed seed) {
  const double spread = parameters.popularity_spread * std::sqrt(1 - parameters.topic_strength);
  std::vector<double> by_rank = NormalRankQuantiles(experts);
  for (double& z : by_rank) z = spread * (z - parameters.popularity_skew * (z * z - 1));
  std::vector<double> log_weights;
  for (size_t layer = 0; layer < layers; ++layer) {
    RngStream rng(seed, "traces/routing/layer", layer);
    log_weights.insert(log_weights.end(), by_rank.begin(), by_rank.end());
    Shuffle(std::span(log_weights).last(experts), rng);
  }
  return log_weights;
}

/// Mean gaps of ranked logits, and the expected scores of ranks k+1..E over the k-th's. Eqs. P2-P3.
TwinScores Scores(const RoutingHeader& header, double temperature) {
  double tail = 0;
  double product = 1;
  for (int32_t rank = header.top_k; rank < header.experts; ++rank) {
    product *= rank * temperature / (rank * temperature + 1);
    tail += product;
  }
  TwinScores scores;
  for (size_t layer = 0; layer < header.moe_layers.size(); ++layer) {
    for (int32_t rank = 1; rank < header.top_k; ++rank) {
      scores.gaps.push_back(1 / (temperature * rank));
    }
    scores.tail.push_back(tail);
  }
  return scores;
}

}  // namespace

RoutingTwin TwinFromParameters(const SyntheticRouting& parameters, const RoutingHeader& header,
                               Seed seed) {
  SIM_CHECK(header.top_k >= 1 && header.top_k <= header.experts);
  SIM_CHECK(parameters.topic_strength >= 0 && parameters.topic_strength <= 1);
  const size_t layers = header.moe_layers.size();
  const double topic_spread = parameters.popularity_spread * std::sqrt(parameters.topic_strength);
  RoutingTwin twin;
  twin.header = header;
  twin.domains.push_back(
      {.log_weights = Popularity(parameters, layers, static_cast<size_t>(header.experts), seed)});
  twin.topics = parameters.topics;
  twin.topic_spread.assign(layers, topic_spread);
  twin.stickiness.assign(layers, parameters.stickiness);
  twin.decay = parameters.stickiness_decay;
  if (header.has_scores) twin.scores = Scores(header, parameters.score_temperature);
  twin.sequences = parameters.sequences;
  twin.prefill_tokens = {static_cast<double>(parameters.prefill_tokens)};
  twin.decode_tokens = {static_cast<double>(parameters.decode_tokens)};
  return twin;
}

}  // namespace moecast
