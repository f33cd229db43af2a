#include "traces/gate_routing.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "sim/base/check.h"

namespace moecast {

GateRowSampler::GateRowSampler(const RoutingHeader& header, uint64_t tokens)
    : layers_(header.moe_layers.size()),
      tokens_(std::max<uint64_t>(tokens, 1)),
      wanted_(std::clamp<uint64_t>(kMaxGateScores / (layers_ * static_cast<uint64_t>(header.top_k)),
                                   1, tokens_)) {
  rows_.top_k = static_cast<size_t>(header.top_k);
}

void GateRowSampler::Add(const RoutingChunk& chunk) {
  SIM_CHECK(chunk.scores.size() == chunk.ids.size());
  const size_t top_k = rows_.top_k;
  for (size_t token = 0; token < static_cast<size_t>(chunk.tokens); ++token, ++seen_) {
    if ((seen_ + 1) * wanted_ / tokens_ == seen_ * wanted_ / tokens_) continue;
    for (size_t layer = 0; layer < layers_; ++layer) {
      const size_t first = (token * layers_ + layer) * top_k;
      const auto scores = std::span(chunk.scores).subspan(first, top_k);
      const bool known = chunk.ids[first] != kUnknownExpert;
      if (!known || std::accumulate(scores.begin(), scores.end(), 0.0) <= 0) continue;
      rows_.moe_layer.push_back(static_cast<int64_t>(layer));
      rows_.scores.insert(rows_.scores.end(), scores.begin(), scores.end());
    }
  }
}

}  // namespace moecast
