#include "calibration/import/routing_law.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "sim/base/rng.h"

namespace moecast::calibration {
namespace {

using Counts = std::vector<int64_t>;

ExpertLoad LoadOf(std::span<const int64_t> counts, int64_t tile_rows) {
  ExpertLoad load;
  for (const int64_t n : counts) {
    const int64_t tiles = (n + tile_rows - 1) / tile_rows;
    load.assignments += static_cast<double>(n);
    load.distinct += n > 0 ? 1 : 0;
    load.padded_rows += static_cast<double>(tiles * tile_rows);
    load.max_expert = std::max(load.max_expert, static_cast<double>(n));
  }
  return load;
}

/// How many t in [0, tokens) have t = residue (mod period); residue in [0, period).
int64_t CountCongruent(int64_t tokens, int64_t residue, int64_t period) {
  return residue >= tokens ? 0 : (tokens - 1 - residue) / period + 1;
}

/// Raises the smallest counts, one by one, by `amount` in total, none above `cap`.
/// RETURNS: what did not fit.
int64_t FillLowest(std::span<int64_t> counts, int64_t amount, int64_t cap) {
  std::vector<int64_t*> order;
  for (int64_t& n : counts) order.push_back(&n);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return *a < *b; });
  for (size_t low = 1; amount > 0 && low <= order.size(); ++low) {
    const int64_t level = *order[low - 1];
    const int64_t next = low < order.size() ? std::min(*order[low], cap) : cap;
    const auto width = static_cast<int64_t>(low);
    const int64_t step = std::min((next - level) * width, amount);
    if (step <= 0) continue;
    for (size_t i = 0; i < low; ++i) {
      *order[i] = level + step / width + (static_cast<int64_t>(i) < step % width ? 1 : 0);
    }
    amount -= step;
  }
  return amount;
}

/// Lowers the largest counts, one by one, by `amount` in total, none below 0.
/// RETURNS: what could not be taken.
int64_t CutHighest(std::span<int64_t> counts, int64_t amount) {
  Counts depth(counts.size());
  const int64_t top = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size(); ++i) depth[i] = top - counts[i];
  const int64_t rest = FillLowest(depth, amount, top);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = top - depth[i];
  return rest;
}

/// Spreads `amount` over the ranks in turn, `change(rank's counts, share)` returning what was left.
template <class Change>
void DealToRanks(Counts& counts, int64_t ranks, int64_t amount, Change change) {
  const size_t each = counts.size() / static_cast<size_t>(ranks);
  while (amount > 0) {
    const int64_t before = amount;
    int64_t left = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const int64_t share = before / ranks + (rank < before % ranks ? 1 : 0);
      left += change(std::span(counts).subspan(static_cast<size_t>(rank) * each, each), share);
    }
    if (left == before) return;
    amount = left;
  }
}

Counts DrawCounts(const LayerShape& shape, double alpha, RngStream& rng) {
  const double total = static_cast<double>(shape.tokens * shape.top_k);
  const bool many = shape.tokens * shape.top_k > shape.experts;
  const double low = std::pow(many ? 1.0 : 0.01, 1 - alpha);
  const double high = std::pow(many ? 0.8 * static_cast<double>(shape.tokens) : 2.0, 1 - alpha);
  std::vector<double> weights(static_cast<size_t>(shape.experts));
  double sum = 0;
  for (double& weight : weights) {
    weight = std::pow((high - low) * rng.NextUniform() + low, 1 / (1 - alpha));
    sum += weight;
  }
  Counts counts;
  int64_t kept = 0;
  for (const double weight : weights) {
    counts.push_back(
        std::min(std::llrint(weight / sum * total), static_cast<long long>(shape.tokens)));
    kept += counts.back();
  }
  const int64_t missing = shape.tokens * shape.top_k - kept;
  DealToRanks(counts, shape.ranks, missing, [&](std::span<int64_t> rank, int64_t share) {
    return FillLowest(rank, share, shape.tokens);
  });
  DealToRanks(counts, shape.ranks, -missing,
              [](std::span<int64_t> rank, int64_t share) { return CutHighest(rank, share); });
  return counts;
}

}  // namespace

ExpertLoad BalancedLoad(const LayerShape& shape, int64_t tile_rows) {
  const int64_t stride = (shape.experts + shape.top_k - 1) / shape.top_k;
  Counts counts(static_cast<size_t>(shape.experts), 0);
  for (int64_t i = 0; i < shape.top_k; ++i) {
    if (shape.tokens >= stride) {
      for (int64_t e = 0; e < shape.experts; ++e) {
        const int64_t offset = (e - i * stride % shape.experts + shape.experts) % shape.experts;
        counts[static_cast<size_t>(e)] += CountCongruent(shape.tokens, offset, shape.experts);
      }
    } else {
      for (int64_t t = 0; t < shape.tokens; ++t) {
        const int64_t e = (t * stride / shape.tokens + i * stride) % shape.experts;
        ++counts[static_cast<size_t>(e)];
      }
    }
  }
  counts.resize(static_cast<size_t>(shape.experts / shape.ranks));
  return LoadOf(counts, tile_rows);
}

ExpertLoad PowerLawLoad(const LayerShape& shape, double alpha, int64_t tile_rows, int draws) {
  ExpertLoad mean;
  const auto each = static_cast<size_t>(shape.experts / shape.ranks);
  for (int draw = 0; draw < draws; ++draw) {
    RngStream rng({}, "calibration/power_law", static_cast<uint64_t>(draw));
    const Counts counts = DrawCounts(shape, alpha, rng);
    ExpertLoad fullest;
    for (size_t first = 0; first < counts.size(); first += each) {
      const ExpertLoad load = LoadOf(std::span(counts).subspan(first, each), tile_rows);
      if (load.assignments > fullest.assignments) fullest = load;
    }
    const double share = 1 / static_cast<double>(draws);
    mean.assignments += fullest.assignments * share;
    mean.distinct += fullest.distinct * share;
    mean.padded_rows += fullest.padded_rows * share;
    mean.max_expert += fullest.max_expert * share;
  }
  return mean;
}

}  // namespace moecast::calibration
