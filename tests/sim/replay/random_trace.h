// A random routing trace held as plain ids, and counting by plain loops: the reference that every
// fast path must equal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "sim/base/rng.h"
#include "sim/model/step_shape.h"
#include "sim/replay/replay_source.h"

namespace moecast::test {

struct TraceShape {
  int64_t moe_layers = 1;
  int64_t experts = 8;
  int64_t top_k = 1;
  int64_t sequences = 4;
  int64_t max_rows = 20;     // of one sequence and phase; actual counts are random from 0
  double unknown_ratio = 0;  // of (token, layer) cells
};

/// One sequence's prefill and decode rows.
using TraceSequence = std::pair<RoutingChunk, RoutingChunk>;

inline RoutingHeader HeaderOf(const TraceShape& shape) {
  RoutingHeader header{.source = "random trace", .model = "toy", .moe_layers = {}, .experts = 0};
  for (int64_t l = 0; l < shape.moe_layers; ++l) {
    header.moe_layers.push_back(static_cast<int32_t>(l));
  }
  header.experts = static_cast<int32_t>(shape.experts);
  header.top_k = static_cast<int32_t>(shape.top_k);
  return header;
}

/// `top_k` different experts, squared uniform so that low ids are popular.
inline void AppendRow(const TraceShape& shape, RngStream& rng, std::vector<uint16_t>& ids) {
  std::set<uint16_t> used;
  while (std::ssize(used) < shape.top_k) {
    const double u = rng.NextUniform();
    const auto expert = static_cast<uint16_t>(u * u * static_cast<double>(shape.experts));
    if (used.insert(expert).second) ids.push_back(expert);
  }
}

inline RoutingChunk RandomChunk(const TraceShape& shape, int64_t tokens, RngStream& rng) {
  RoutingChunk chunk;
  chunk.tokens = tokens;
  for (int64_t cell = 0; cell < tokens * shape.moe_layers; ++cell) {
    if (rng.NextUniform() < shape.unknown_ratio) {
      chunk.ids.insert(chunk.ids.end(), static_cast<size_t>(shape.top_k), kUnknownExpert);
    } else {
      AppendRow(shape, rng, chunk.ids);
    }
  }
  return chunk;
}

/// [sequence][phase] one chunk each; every sequence has rows in at least one phase.
inline std::vector<TraceSequence> RandomTrace(const TraceShape& shape, RngStream& rng) {
  std::vector<TraceSequence> trace;
  for (int64_t s = 0; s < shape.sequences; ++s) {
    const auto bound = static_cast<uint64_t>(shape.max_rows) + 1;
    auto prefill = static_cast<int64_t>(rng.NextBelow(bound));
    const auto decode = static_cast<int64_t>(rng.NextBelow(bound));
    if (prefill + decode == 0) prefill = 1;
    auto& pair =
        trace.emplace_back(RandomChunk(shape, prefill, rng), RandomChunk(shape, decode, rng));
    pair.first.sequence = pair.second.sequence = SequenceId(static_cast<uint32_t>(s));
    pair.first.phase = RoutingPhase::kPrefill;
    pair.second.phase = RoutingPhase::kDecode;
  }
  return trace;
}

inline std::shared_ptr<const ReplayTable> TableOf(const TraceShape& shape,
                                                  const std::vector<TraceSequence>& trace,
                                                  const ExpertSelection& selection = NativeTopK{},
                                                  int64_t resident = ReplayTable::kResidentBytes) {
  ReplayTable::Builder builder(HeaderOf(shape), selection, resident);
  for (const auto& [prefill, decode] : trace) {
    if (!builder.Add(prefill).ok() || !builder.Add(decode).ok()) return nullptr;
  }
  auto table = std::move(builder).Finish();
  return table.ok() ? std::make_shared<const ReplayTable>(std::move(table).value()) : nullptr;
}

/// Counts a step id by id.
class NaiveCounter {
 public:
  NaiveCounter(const TraceShape& shape, const std::vector<TraceSequence>& trace, int64_t kept)
      : shape_(shape),
        trace_(trace),
        kept_(kept),
        counts_(static_cast<size_t>(shape.moe_layers * shape.experts)) {}

  void Add(const RoutedSpan& span) {
    for (int64_t i = 0; i < span.rows; ++i) AddRow(span, span.first_row + i);
  }

  void AddRow(const RoutedSpan& span, int64_t row) {
    const auto& [prefill, decode] = trace_[span.sequence.value()];
    const bool wants_prefill = span.phase == RoutingPhase::kPrefill;
    const RoutingChunk& wanted = wants_prefill ? prefill : decode;
    const RoutingChunk& chunk = wanted.tokens > 0 ? wanted : (wants_prefill ? decode : prefill);
    const int64_t token = row % chunk.tokens;
    bool unknown = false;
    for (int64_t l = 0; l < shape_.moe_layers; ++l) {
      const auto first = static_cast<size_t>((token * shape_.moe_layers + l) * shape_.top_k);
      if (chunk.ids[first] == kUnknownExpert) {
        unknown = true;
        continue;
      }
      for (size_t k = 0; k < static_cast<size_t>(kept_); ++k) {
        ++counts_[static_cast<size_t>(l * shape_.experts) + chunk.ids[first + k]];
      }
    }
    unknown_rows_ += unknown ? 1 : 0;
    wrapped_rows_ += row >= chunk.tokens ? 1 : 0;
    substituted_rows_ += &chunk != &wanted ? 1 : 0;
  }

  [[nodiscard]] std::vector<ExpertLoad> Loads(const LoadShape& load) const {
    const int64_t block = shape_.experts / load.expert_ranks;
    std::vector<ExpertLoad> loads(static_cast<size_t>(shape_.moe_layers * load.expert_ranks));
    for (size_t i = 0; i < counts_.size(); ++i) {
      ExpertLoad& rank = loads[i / static_cast<size_t>(block)];
      const auto n = static_cast<int64_t>(counts_[i]);
      rank.assignments += static_cast<double>(n);
      rank.distinct += n > 0 ? 1 : 0;
      const int64_t tiles = (n + load.tile_rows - 1) / load.tile_rows;
      rank.padded_rows += static_cast<double>(tiles * load.tile_rows);
      rank.max_expert = std::max(rank.max_expert, static_cast<double>(n));
    }
    return loads;
  }
  [[nodiscard]] const std::vector<uint64_t>& counts() const { return counts_; }
  [[nodiscard]] uint64_t unknown_rows() const { return unknown_rows_; }
  [[nodiscard]] uint64_t wrapped_rows() const { return wrapped_rows_; }
  [[nodiscard]] uint64_t substituted_rows() const { return substituted_rows_; }

 private:
  const TraceShape& shape_;
  const std::vector<TraceSequence>& trace_;
  int64_t kept_;
  std::vector<uint64_t> counts_;
  uint64_t unknown_rows_ = 0;
  uint64_t wrapped_rows_ = 0;
  uint64_t substituted_rows_ = 0;
};

/// Every instruction set this CPU can run.
inline std::vector<const CounterKernels*> SupportedKernels() {
  std::vector<const CounterKernels*> all = {&PortableCounterKernels()};
  if (Avx2CounterKernels() != nullptr) all.push_back(Avx2CounterKernels());
  if (Avx512CounterKernels() != nullptr) all.push_back(Avx512CounterKernels());
  return all;
}

}  // namespace moecast::test
