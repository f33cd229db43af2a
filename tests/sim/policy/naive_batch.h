// Batch-level rules written down as their papers state them, one layer at a time on plain vectors:
// what the fast ones must equal.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "sim/base/rng.h"
#include "sim/policy/experts/batch_rule.h"

namespace moecast::test {

/// One token at one layer: experts and scores, best first; empty: not recorded.
using NaiveRow = std::vector<std::pair<int64_t, float>>;
/// [token] rows of one layer.
using NaiveLayer = std::vector<NaiveRow>;
using NaiveCounts = std::map<int64_t, int64_t>;  // tokens per expert

/// Counts of every token's best `take` members among its first `ranks` ranks.
inline NaiveCounts CountWithin(const NaiveLayer& layer, const std::set<int64_t>& members,
                               int64_t take, size_t ranks) {
  NaiveCounts counts;
  for (const NaiveRow& row : layer) {
    int64_t left = take;
    for (size_t rank = 0; rank < std::min(ranks, row.size()) && left > 0; ++rank) {
      if (!members.contains(row[rank].first)) continue;
      ++counts[row[rank].first];
      --left;
    }
  }
  return counts;
}

inline std::set<int64_t> BestOf(const NaiveLayer& layer, int64_t ranks) {
  std::set<int64_t> experts;
  for (const NaiveRow& row : layer) {
    for (size_t rank = 0; rank < row.size() && static_cast<int64_t>(rank) < ranks; ++rank) {
      experts.insert(row[rank].first);
    }
  }
  return experts;
}

/// Experts by falling utility, the lower id first among equals.
inline std::vector<std::pair<int64_t, int64_t>> ByUtility(const std::map<int64_t, int64_t>& sums) {
  std::vector<std::pair<int64_t, int64_t>> order(sums.begin(), sums.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::erase_if(order, [](const auto& each) { return each.second == 0; });
  return order;
}

inline NaiveCounts Naive(const Oea& rule, const NaiveLayer& layer, int64_t top_k) {
  const int64_t most = rule.most_k > 0 ? std::min(rule.most_k, top_k) : top_k;
  const size_t ranks = rule.max_rank > 0 ? static_cast<size_t>(rule.max_rank) : SIZE_MAX;
  return CountWithin(layer, BestOf(layer, std::min(rule.base_k, most)), most, ranks);
}

inline NaiveCounts Naive(const XShare& rule, const NaiveLayer& layer, int64_t top_k) {
  std::set<int64_t> members = BestOf(layer, 1);
  std::map<int64_t, int64_t> sums;
  for (const NaiveRow& row : layer) {
    for (const auto& [expert, score] : row) sums[expert] += std::lround(score * 65535.0F);
  }
  for (const auto& [expert, sum] : ByUtility(sums)) {
    if (static_cast<int64_t>(members.size()) >= rule.budget) break;
    members.insert(expert);
  }
  return CountWithin(layer, members, top_k, SIZE_MAX);
}

inline NaiveCounts Naive(const Lynx& rule, const NaiveLayer& layer, int64_t top_k) {
  std::map<int64_t, int64_t> sums;
  int64_t total = 0;
  for (const NaiveRow& row : layer) {
    for (const auto& [expert, score] : row) {
      double bin = -static_cast<double>(rule.bins);
      if (score > 0) {
        const double steps =
            std::floor(rule.sharpness * std::log(static_cast<double>(score) / row.front().second));
        bin = std::clamp(steps, bin, 0.0);
      }
      const int64_t weight = std::lround(static_cast<float>(std::pow(rule.base, bin)) * 65535.0F);
      sums[expert] += weight;
      total += weight;
    }
  }
  std::set<int64_t> members = BestOf(layer, 1);
  int64_t held = 0;
  for (const auto& [expert, sum] : ByUtility(sums)) {
    if (held >= static_cast<int64_t>(std::ceil(rule.mass * static_cast<double>(total)))) break;
    members.insert(expert);
    held += sum;
  }
  return CountWithin(layer, members, top_k, SIZE_MAX);
}

/// `similar`: (expert, replacement) to similarity, of this layer.
inline NaiveCounts NaiveSere(int64_t primary, double least,
                             const std::map<std::pair<int64_t, int64_t>, float>& similar,
                             const NaiveLayer& layer, int64_t top_k) {
  const std::set<int64_t> members = BestOf(layer, std::min(primary, top_k));
  NaiveCounts counts;
  for (const NaiveRow& row : layer) {
    for (size_t rank = 0; rank < row.size() && static_cast<int64_t>(rank) < top_k; ++rank) {
      const int64_t expert = row[rank].first;
      int64_t target = expert;
      double best = -std::numeric_limits<double>::infinity();
      for (const int64_t member : members) {
        if (members.contains(expert)) break;
        const auto found = similar.find({expert, member});
        if (found == similar.end() || found->second < least || found->second <= best) continue;
        best = found->second;
        target = member;
      }
      ++counts[target];
    }
  }
  return counts;
}

inline NaiveCounts NaiveAlloc(int64_t base_k, double mean_k, const NaiveLayer& layer,
                              int64_t top_k) {
  struct Slot {
    int64_t score, token, rank, expert;
  };
  std::vector<Slot> others;
  NaiveCounts counts;
  int64_t known = 0;
  for (size_t token = 0; token < layer.size(); ++token) {
    known += layer[token].empty() ? 0 : 1;
    for (size_t rank = 0; rank < layer[token].size() && static_cast<int64_t>(rank) < top_k;
         ++rank) {
      const auto [expert, score] = layer[token][rank];
      if (static_cast<int64_t>(rank) < base_k) {
        ++counts[expert];
      } else {
        others.push_back({std::clamp<int64_t>(std::lround(score * 65535.0F), 1, 65534),
                          static_cast<int64_t>(token), static_cast<int64_t>(rank), expert});
      }
    }
  }
  std::stable_sort(others.begin(), others.end(),
                   [](const Slot& a, const Slot& b) { return a.score > b.score; });
  const auto slots = static_cast<int64_t>(mean_k * static_cast<double>(known)) - base_k * known;
  for (int64_t i = 0; i < slots && i < std::ssize(others); ++i) {
    ++counts[others[static_cast<size_t>(i)].expert];
  }
  return counts;
}

/// Random rows of a batch, kept as the rules and as the naive ones want them.
class DrawnBatch {
 public:
  struct Size {
    RankedShape shape;
    int64_t tokens = 1;
    double unknown = 0;  // chance that a row is not recorded
  };
  DrawnBatch(const Size& size, RngStream& rng) : shape_(size.shape), layers_(Layers(size.shape)) {
    for (NaiveLayer& layer : layers_) {
      for (int64_t t = 0; t < size.tokens; ++t) {
        layer.push_back(rng.NextUniform() < size.unknown ? NaiveRow{} : DrawRow(rng));
      }
    }
  }
  /// Rows that are given, [moe_layer][token].
  DrawnBatch(const RankedShape& shape, std::vector<NaiveLayer> layers)
      : shape_(shape), layers_(std::move(layers)) {}

  [[nodiscard]] const std::vector<NaiveLayer>& layers() const { return layers_; }
  [[nodiscard]] const RankedShape& shape() const { return shape_; }

  /// The experts of the rule's tokens counted, [moe_layer].
  [[nodiscard]] std::vector<NaiveCounts> Count(const BatchRule& rule) const {
    const std::vector<Row> rows = Rows(rule);
    std::vector<RankedRow> batch;
    batch.reserve(rows.size());
    for (const Row& row : rows) {
      batch.push_back({.ids = row.ids.data(),
                       .weights = row.weights.data(),
                       .best = row.best.data(),
                       .ranked = row.ranked.data(),
                       .order = row.order.data()});
    }
    constexpr size_t kPast = 4;  // words that may be written past a row
    const auto words = static_cast<size_t>(shape_.row_words());
    std::vector<uint64_t> bits(rows.size() * words + kPast);
    std::vector<uint64_t*> chosen;
    for (size_t t = 0; t < rows.size(); ++t) chosen.push_back(bits.data() + t * words);
    BatchScratch scratch;
    rule.Choose({.shape = shape_, .rows = batch, .chosen = chosen}, scratch);
    if (const Sere* sere = rule.redirecting()) return Redirected(*sere, scratch);
    std::vector<NaiveCounts> counts(layers_.size());
    for (const uint64_t* row : chosen) {
      for (size_t l = 0; l < layers_.size(); ++l) {
        for (int64_t e = 0; e < shape_.experts; ++e) {
          const int64_t bit = static_cast<int64_t>(l) * shape_.expert_stride() + e;
          if ((row[bit / 64] >> (bit % 64) & 1) != 0) ++counts[l][e];
        }
      }
    }
    return counts;
  }

 private:
  struct Row {
    std::vector<uint16_t> ids, weights;
    std::vector<uint64_t> best, ranked;
    std::vector<uint8_t> order;
  };
  /// What a table would hold of the tokens for the rule.
  [[nodiscard]] std::vector<Row> Rows(const BatchRule& rule) const {
    const auto stride = static_cast<size_t>(shape_.rank_stride());
    const auto cells = layers_.size() * stride;
    constexpr size_t kPast = 2;  // words that may be read past bits
    const auto words = static_cast<size_t>(shape_.row_words());
    std::vector<Row> rows(layers_.front().size());
    for (size_t t = 0; t < rows.size(); ++t) {
      Row& row = rows[t];
      row.ids.assign(cells, static_cast<uint16_t>(shape_.experts));
      row.weights.assign(cells, 0);
      row.best.assign(words + kPast, 0);
      row.ranked.assign(words + kPast, 0);
      row.order.resize(cells);
      for (size_t l = 0; l < layers_.size(); ++l) {
        const NaiveRow& from = layers_[l][t];
        for (size_t r = 0; r < from.size(); ++r) {
          row.ids[l * stride + r] = static_cast<uint16_t>(from[r].first);
          row.weights[l * stride + r] = rule.Weight({.moe_layer = static_cast<int64_t>(l),
                                                     .rank = static_cast<int64_t>(r),
                                                     .score = from[r].second,
                                                     .best = from[0].second});
        }
      }
      FillMarks(shape_, row.ids.data(), rule.BestRanks(shape_.top_k),
                {.best = std::span(row.best).first(words),
                 .ranked = std::span(row.ranked).first(words),
                 .order = row.order});
    }
    return rows;
  }

  [[nodiscard]] std::vector<NaiveCounts> Redirected(const Sere& rule,
                                                    const BatchScratch& scratch) const {
    const auto stride = static_cast<size_t>(shape_.expert_stride());
    std::vector<uint32_t> native(layers_.size() * stride);
    for (size_t l = 0; l < layers_.size(); ++l) {
      for (const NaiveRow& row : layers_[l]) {
        for (size_t r = 0; r < row.size() && static_cast<int64_t>(r) < shape_.top_k; ++r) {
          ++native[l * stride + static_cast<size_t>(row[r].first)];
        }
      }
    }
    rule.Redirect(shape_, scratch, native);
    std::vector<NaiveCounts> counts(layers_.size());
    for (size_t l = 0; l < layers_.size(); ++l) {
      for (size_t e = 0; e < stride; ++e) {
        const uint32_t count = native[l * stride + e];
        if (count > 0) counts[l][static_cast<int64_t>(e)] = count;
      }
    }
    return counts;
  }

  static std::vector<NaiveLayer> Layers(const RankedShape& shape) {
    return std::vector<NaiveLayer>(static_cast<size_t>(shape.moe_layers));
  }
  /// Different experts, low ids popular; scores fall by rank and often tie.
  NaiveRow DrawRow(RngStream& rng) const {
    NaiveRow row;
    std::set<int64_t> used;
    float score = 0.6F;
    while (std::ssize(row) < shape_.ranks) {
      const double u = rng.NextUniform();
      const auto expert = static_cast<int64_t>(u * u * static_cast<double>(shape_.experts));
      if (!used.insert(expert).second) continue;
      row.emplace_back(expert, score);
      score *= rng.NextBelow(3) == 0 ? 1.0F : 0.75F;
    }
    return row;
  }

  RankedShape shape_;
  std::vector<NaiveLayer> layers_;
};

}  // namespace moecast::test
