#include "traces/sequence_similarity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "traces/routing_stats.h"

namespace moecast {
namespace {

/// A random subset of at most kMaxSimilaritySequences of `count`, ascending.
std::vector<size_t> Choose(size_t count, Seed seed) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t chosen = std::min(count, kMaxSimilaritySequences);
  RngStream rng(seed, "traces/stats/similarity");
  for (size_t i = 0; i < chosen; ++i) std::swap(order[i], order[i + rng.NextBelow(count - i)]);
  order.resize(chosen);
  std::sort(order.begin(), order.end());
  return order;
}

/// The sequence's counts [layer][expert] scaled to length 1; empty when nothing was recorded.
std::vector<float> Direction(const RoutingHeader& header, const PhaseRows& rows, size_t sequence) {
  const size_t layers = header.moe_layers.size();
  const auto experts = static_cast<size_t>(header.experts);
  const auto top_k = static_cast<size_t>(header.top_k);
  std::vector<float> counts(layers * experts);
  const auto begin = static_cast<size_t>(rows.sequence_first[sequence]) * layers;
  const auto end = static_cast<size_t>(rows.sequence_first[sequence + 1]) * layers;
  for (size_t row = begin; row < end; ++row) {
    if (rows.ids[row * top_k] == kUnknownExpert) continue;
    for (size_t rank = 0; rank < top_k; ++rank) {
      counts[row % layers * experts + rows.ids[row * top_k + rank]] += 1;
    }
  }
  const double square = std::inner_product(counts.begin(), counts.end(), counts.begin(), 0.0);
  if (square == 0) return {};
  for (float& count : counts) count = static_cast<float>(count / std::sqrt(square));
  return counts;
}

void Add(PairSimilarity& to, double cosine) {
  ++to.pairs;
  to.mean += (cosine - to.mean) / static_cast<double>(to.pairs);
}

}  // namespace

SequenceSimilarity MeasureSimilarity(const RoutingHeader& header, const PhaseRows& rows,
                                     Seed seed) {
  std::vector<std::vector<float>> directions;
  std::vector<std::string> categories;
  for (const size_t sequence : Choose(rows.sequence_first.size() - 1, seed)) {
    std::vector<float> direction = Direction(header, rows, sequence);
    if (direction.empty()) continue;
    directions.push_back(std::move(direction));
    categories.push_back(rows.categories.empty() ? "" : rows.categories[sequence]);
  }
  SequenceSimilarity measured;
  measured.sequences = std::ssize(directions);
  for (size_t a = 0; a < directions.size(); ++a) {
    for (size_t b = a + 1; b < directions.size(); ++b) {
      const double cosine = std::inner_product(directions[a].begin(), directions[a].end(),
                                               directions[b].begin(), 0.0);
      Add(measured.all, cosine);
      if (categories[a].empty() || categories[b].empty()) continue;
      Add(categories[a] == categories[b] ? measured.within : measured.between, cosine);
    }
  }
  return measured;
}

}  // namespace moecast
