#include "traces/twin/score_shape.h"

#include <algorithm>
#include <cmath>

namespace moecast {

ScoreShape::ScoreShape(const RoutingHeader& header)
    : layers_(header.moe_layers.size()),
      top_k_(static_cast<size_t>(header.top_k)),
      least_(static_cast<float>(header.score_unit / 2)),
      gaps_(layers_ * (top_k_ - 1)),
      outside_(layers_),
      last_(layers_),
      rows_(layers_) {}

void ScoreShape::Add(const RoutingChunk& chunk) {
  constexpr double kRounding = 1.0 / (1 << 10);
  for (size_t i = 0, row = 0; i < chunk.ids.size(); i += top_k_, ++row) {
    if (chunk.ids[i] == kUnknownExpert) continue;
    const size_t layer = row % layers_;
    double sum = 0;
    for (size_t rank = 0; rank < top_k_; ++rank) {
      const float score = chunk.scores[i + rank];
      sum += static_cast<double>(score);
      if (rank + 1 == top_k_) break;
      const auto next = static_cast<double>(std::max(chunk.scores[i + rank + 1], least_));
      const double ratio = static_cast<double>(std::max(score, least_)) / next;
      gaps_[layer * (top_k_ - 1) + rank] += std::max(std::log(ratio), 0.0);
    }
    shares_ = shares_ && sum <= 1 + kRounding;
    outside_[layer] += std::max(1 - sum, 0.0);
    last_[layer] += static_cast<double>(std::max(chunk.scores[i + top_k_ - 1], least_));
    ++rows_[layer];
  }
}

TwinScores ScoreShape::Shape() const {
  TwinScores scores;
  scores.gaps.resize(gaps_.size());
  scores.tail.resize(layers_);
  for (size_t layer = 0; layer < layers_; ++layer) {
    if (rows_[layer] == 0) continue;
    for (size_t rank = 0; rank + 1 < top_k_; ++rank) {
      const size_t i = layer * (top_k_ - 1) + rank;
      scores.gaps[i] = gaps_[i] / static_cast<double>(rows_[layer]);
    }
    if (shares_) scores.tail[layer] = outside_[layer] / last_[layer];
  }
  return scores;
}

}  // namespace moecast
