#include "traces/routing_stats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>
#include <string_view>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Rows as [token][layer], and the counts that several figures share.
class Table {
 public:
  Table(const RoutingHeader& header, const PhaseRows& rows)
      : rows_(rows),
        layers_(header.moe_layers.size()),
        experts_(static_cast<size_t>(header.experts)),
        top_k_(static_cast<size_t>(header.top_k)) {}

  [[nodiscard]] int64_t tokens() const { return rows_.sequence_first.back(); }
  [[nodiscard]] size_t layers() const { return layers_; }
  [[nodiscard]] size_t experts() const { return experts_; }
  [[nodiscard]] const std::vector<int64_t>& sequence_first() const { return rows_.sequence_first; }

  [[nodiscard]] std::span<const uint16_t> Row(int64_t token, size_t layer) const {
    const size_t first = (static_cast<size_t>(token) * layers_ + layer) * top_k_;
    return std::span(rows_.ids).subspan(first, top_k_);
  }
  static bool IsKnown(std::span<const uint16_t> row) { return row[0] != kUnknownExpert; }

  /// Adds the row's experts to counts [expert].
  void CountRow(int64_t token, size_t layer, std::span<uint32_t> counts) const {
    const auto row = Row(token, layer);
    if (!IsKnown(row)) return;
    for (const uint16_t expert : row) ++counts[expert];
  }

 private:
  const PhaseRows& rows_;
  size_t layers_;
  size_t experts_;
  size_t top_k_;
};

LayerRouting MeasureLayer(const Table& table, size_t layer, int32_t model_layer) {
  std::vector<uint32_t> counts(table.experts());
  for (int64_t token = 0; token < table.tokens(); ++token) table.CountRow(token, layer, counts);
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  LayerRouting measured = {.layer = model_layer};
  if (all == 0) return measured;
  for (const uint32_t count : counts) {
    const double share = count / all;
    if (count > 0) measured.entropy_bits -= share * std::log2(share);
  }
  std::sort(counts.begin(), counts.end(), std::greater<>());
  for (const uint32_t count : counts) {
    measured.popularity.push_back(count * static_cast<double>(counts.size()) / all);
  }
  measured.max_over_mean = measured.popularity.front();
  return measured;
}

std::optional<double> AdjacentOverlap(const Table& table) {
  uint64_t pairs = 0;
  uint64_t shared = 0;
  const auto& first = table.sequence_first();
  for (size_t sequence = 0; sequence + 1 < first.size(); ++sequence) {
    for (int64_t token = first[sequence]; token + 1 < first[sequence + 1]; ++token) {
      for (size_t layer = 0; layer < table.layers(); ++layer) {
        const auto row = table.Row(token, layer);
        const auto next = table.Row(token + 1, layer);
        if (!Table::IsKnown(row) || !Table::IsKnown(next)) continue;
        ++pairs;
        for (const uint16_t expert : row) {
          shared += std::find(next.begin(), next.end(), expert) != next.end() ? 1 : 0;
        }
      }
    }
  }
  if (pairs == 0) return std::nullopt;
  return static_cast<double>(shared) / static_cast<double>(pairs);
}

/// Token batches of one size, formed in one way.
class BatchSampler {
 public:
  BatchSampler(const Table& table, BatchForming forming, int64_t batch,
               const RoutingStatsOptions& options)
      : first_(table.sequence_first()),
        forming_(forming),
        batch_(batch),
        rng_(options.seed, StreamName(forming), static_cast<uint64_t>(batch)),
        tokens_(static_cast<size_t>(batch)),
        order_(first_.size() - 1) {
    const auto sequences = static_cast<int64_t>(order_.size());
    windows_ = first_.back() / batch;
    count_ = forming == BatchForming::kConsecutive ? std::min(windows_, options.draws)
             : forming == BatchForming::kOnePerSequence && batch > sequences ? 0
                                                                             : options.draws;
    std::iota(order_.begin(), order_.end(), size_t{0});
  }

  /// Batches there are; 0 when the trace is too small for this size.
  [[nodiscard]] int64_t count() const { return count_; }

  /// The tokens of the i-th batch, i ascending from 0.
  std::span<const int64_t> Form(int64_t i) {
    if (forming_ == BatchForming::kConsecutive) {
      std::iota(tokens_.begin(), tokens_.end(), i * windows_ / count_ * batch_);
      return tokens_;
    }
    for (size_t slot = 0; slot < tokens_.size(); ++slot) {
      tokens_[slot] = forming_ == BatchForming::kRandomTokens ? TokenIn(0, order_.size())
                                                              : TokenOfNewSequence(slot);
    }
    return tokens_;
  }

 private:
  static std::string_view StreamName(BatchForming forming) {
    return forming == BatchForming::kOnePerSequence ? "traces/stats/sequences"
                                                    : "traces/stats/tokens";
  }

  /// A random token of sequences [begin, end).
  int64_t TokenIn(size_t begin, size_t end) {
    const auto tokens = static_cast<uint64_t>(first_[end] - first_[begin]);
    return first_[begin] + static_cast<int64_t>(rng_.NextBelow(tokens));
  }

  int64_t TokenOfNewSequence(size_t slot) {
    std::swap(order_[slot], order_[slot + rng_.NextBelow(order_.size() - slot)]);
    return TokenIn(order_[slot], order_[slot] + 1);
  }

  const std::vector<int64_t>& first_;
  BatchForming forming_;
  int64_t batch_;
  RngStream rng_;
  std::vector<int64_t> tokens_;
  std::vector<size_t> order_;  // sequences, the drawn ones first
  int64_t windows_ = 0;
  int64_t count_ = 0;
};

/// Fullest of `ranks` contiguous blocks of experts over the average; blocks differ by one expert at
/// most.
double MaxOverMean(std::span<const uint32_t> counts, int64_t ranks) {
  const auto blocks = static_cast<size_t>(ranks);
  uint64_t all = 0;
  uint64_t fullest = 0;
  for (size_t block = 0; block < blocks; ++block) {
    const size_t begin = block * counts.size() / blocks;
    const size_t end = (block + 1) * counts.size() / blocks;
    const uint64_t load =
        std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(begin),
                        counts.begin() + static_cast<std::ptrdiff_t>(end), uint64_t{0});
    all += load;
    fullest = std::max(fullest, load);
  }
  return all == 0 ? 1 : static_cast<double>(fullest * blocks) / static_cast<double>(all);
}

std::optional<BatchRouting> MeasureBatch(const Table& table, const RoutingHeader& header,
                                         BatchForming forming, int64_t batch,
                                         const RoutingStatsOptions& options) {
  BatchSampler sampler(table, forming, batch, options);
  if (sampler.count() == 0) return std::nullopt;
  BatchRouting measured = {.forming = forming,
                           .batch = batch,
                           .batches_sampled = sampler.count(),
                           .independent = IndependentDistinct(header, batch)};
  std::vector<double> rank_sums(options.ranks.size());
  std::vector<uint32_t> counts(table.experts());
  uint64_t distinct = 0;
  for (int64_t i = 0; i < sampler.count(); ++i) {
    const std::span<const int64_t> tokens = sampler.Form(i);
    for (size_t layer = 0; layer < table.layers(); ++layer) {
      std::fill(counts.begin(), counts.end(), 0);
      for (const int64_t token : tokens) table.CountRow(token, layer, counts);
      distinct += counts.size() - static_cast<size_t>(std::count(counts.begin(), counts.end(), 0u));
      for (size_t r = 0; r < rank_sums.size(); ++r) {
        rank_sums[r] += MaxOverMean(counts, options.ranks[r]);
      }
    }
  }
  const double samples = static_cast<double>(sampler.count()) * static_cast<double>(table.layers());
  measured.distinct_experts = static_cast<double>(distinct) / samples;
  for (size_t r = 0; r < rank_sums.size(); ++r) {
    measured.ranks.push_back({options.ranks[r], rank_sums[r] / samples});
  }
  return measured;
}

uint64_t CountUnknown(const PhaseRows& rows, int32_t top_k) {
  uint64_t unknown = 0;
  for (size_t i = 0; i < rows.ids.size(); i += static_cast<size_t>(top_k)) {
    unknown += rows.ids[i] == kUnknownExpert ? 1 : 0;
  }
  return unknown;
}

/// One phase's rows as they come from a reader.
class PhaseInput {
 public:
  PhaseInput(const RoutingHeader& header, uint64_t tokens)
      : has_scores_(header.has_scores), gates_(header, tokens) {}

  void Add(const RoutingChunk& chunk, const std::vector<RoutingSequence>& sequences) {
    if (last_ != chunk.sequence) {
      last_ = chunk.sequence;
      const int64_t end = rows_.sequence_first.back();
      rows_.sequence_first.push_back(end);
      const size_t label = chunk.sequence.value();
      rows_.categories.push_back(label < sequences.size() ? sequences[label].category : "");
    }
    rows_.sequence_first.back() += chunk.tokens;
    rows_.ids.insert(rows_.ids.end(), chunk.ids.begin(), chunk.ids.end());
    if (has_scores_) gates_.Add(chunk);
  }
  [[nodiscard]] const PhaseRows& rows() const { return rows_; }
  GateRows TakeGateRows() { return std::move(gates_).Take(); }

 private:
  bool has_scores_;
  GateRowSampler gates_;
  PhaseRows rows_;
  std::optional<SequenceId> last_;
};

}  // namespace

double IndependentDistinct(const RoutingHeader& header, int64_t batch) {
  const double missed = 1 - static_cast<double>(header.top_k) / header.experts;
  return header.experts * (1 - std::pow(missed, static_cast<double>(batch)));
}

PhaseRouting Measure(const RoutingHeader& header, const PhaseRows& rows, RoutingPhase phase,
                     const RoutingStatsOptions& options) {
  const Table table(header, rows);
  SIM_CHECK(table.tokens() >= 1);
  PhaseRouting measured;
  measured.phase = phase;
  measured.sequences = static_cast<int64_t>(rows.sequence_first.size()) - 1;
  measured.tokens = table.tokens();
  measured.unknown_rows = CountUnknown(rows, header.top_k);
  for (size_t layer = 0; layer < table.layers(); ++layer) {
    measured.layers.push_back(MeasureLayer(table, layer, header.moe_layers[layer]));
  }
  measured.adjacent_overlap = AdjacentOverlap(table);
  measured.independent_overlap = static_cast<double>(header.top_k) * header.top_k / header.experts;
  for (const int64_t ranks : options.ranks) {
    measured.persistence.push_back(
        MeasurePersistence(header, rows, {.ranks = ranks, .window_tokens = options.window_tokens}));
  }
  for (const BatchForming forming : kBatchFormings) {
    for (const int64_t batch : options.batches) {
      if (auto of = MeasureBatch(table, header, forming, batch, options)) {
        measured.batches.push_back(*std::move(of));
      }
    }
  }
  measured.similarity = MeasureSimilarity(header, rows, options.seed);
  return measured;
}

Result<RoutingStats> MeasureTrace(RoutingReader reader, const RoutingStatsOptions& options) {
  const RoutingHeader& header = reader.header();
  const uint64_t tokens = reader.totals().prefill_tokens + reader.totals().decode_tokens;
  const uint64_t ids = tokens * header.moe_layers.size() * static_cast<uint64_t>(header.top_k);
  if (ids > kMaxStatsIds) {
    return Error{"the trace has " + std::to_string(ids) + " ids, statistics hold at most " +
                     std::to_string(kMaxStatsIds) + " in memory; import fewer sequences",
                 ""};
  }
  std::array<PhaseInput, 2> inputs = {PhaseInput(header, reader.totals().prefill_tokens),
                                      PhaseInput(header, reader.totals().decode_tokens)};
  RoutingChunk chunk;
  while (true) {
    SIM_TRY(const bool more, reader.Next(chunk));
    if (!more) break;
    inputs[static_cast<size_t>(chunk.phase)].Add(chunk, reader.sequences());
  }
  RoutingStats stats = {.header = header, .options = options, .phases = {}};
  for (const RoutingPhase phase : {RoutingPhase::kPrefill, RoutingPhase::kDecode}) {
    PhaseInput& of = inputs[static_cast<size_t>(phase)];
    if (of.rows().ids.empty()) continue;
    stats.phases.push_back(Measure(header, of.rows(), phase, options));
    stats.phases.back().gate_rows = of.TakeGateRows();
  }
  return stats;
}

}  // namespace moecast
