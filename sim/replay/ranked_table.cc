#include "sim/replay/ranked_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

RankedShape ShapeOf(const RoutingHeader& header) {
  return {.moe_layers = std::ssize(header.moe_layers),
          .experts = header.experts,
          .top_k = header.top_k,
          .ranks = header.top_k + header.further_ranks};
}

}  // namespace

RankedTable::Parts RankedTable::PartsOf(const RankedShape& shape, const BatchRule& rule,
                                        bool has_scores) {
  const int64_t cells = shape.moe_layers * shape.rank_stride();
  const int64_t ranks = cells * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t bits = shape.row_words() * static_cast<int64_t>(sizeof(uint64_t));
  Parts parts;
  parts.end = ranks;  // behind the ids
  if (rule.HasWeights()) {
    parts.weights = parts.end;
    parts.end += ranks;
  }
  if (has_scores && std::holds_alternative<XShare>(rule.kind)) {
    parts.scores = parts.weights;  // what it adds up
  } else if (has_scores) {
    parts.scores = parts.end;
    parts.end += ranks;
  }
  parts.best = parts.end;
  parts.ranked = parts.best + bits;
  parts.order = parts.ranked + bits;
  parts.end = parts.order + cells;
  return parts;
}

RankedTable::RankedTable(const RankedShape& shape, const Parts& parts, int64_t resident_bytes)
    : shape_(shape),
      parts_(parts),
      store_(
          (parts.end + static_cast<int64_t>(sizeof(Line)) - 1) / static_cast<int64_t>(sizeof(Line)),
          resident_bytes / 2),
      window_bytes_(resident_bytes / 2) {}

RankedRow RankedTable::row(SequenceId sequence, RoutingPhase phase, int64_t row) const {
  const auto* first = reinterpret_cast<const char*>(store_.row(part(sequence, phase).first + row));
  const auto ranks = [first](int64_t offset) {
    return offset > 0 ? reinterpret_cast<const uint16_t*>(first + offset) : nullptr;
  };
  return {.ids = reinterpret_cast<const uint16_t*>(first),
          .weights = ranks(parts_.weights),
          .scores = ranks(parts_.scores),
          .best = reinterpret_cast<const uint64_t*>(first + parts_.best),
          .ranked = reinterpret_cast<const uint64_t*>(first + parts_.ranked),
          .order = reinterpret_cast<const uint8_t*>(first + parts_.order)};
}

RankedTable::Builder::Builder(const RoutingHeader& header, BatchRule rule, int64_t resident_bytes)
    : table_(ShapeOf(header), PartsOf(ShapeOf(header), rule, header.has_scores), resident_bytes),
      rule_(std::move(rule)) {
  SIM_CHECK(!rule_.NeedsScores() || header.has_scores);
  SIM_CHECK(table_.shape_.ranks >= rule_.RanksWanted(header.top_k));
}

Status RankedTable::Builder::Add(const RoutingChunk& chunk) {
  if (chunk.tokens == 0) return Ok();
  const auto [entry, is_new] =
      numbers_.try_emplace(chunk.sequence, static_cast<uint32_t>(table_.sequences_.size()));
  if (is_new) table_.sequences_.emplace_back();
  Part& part = table_.sequences_[entry->second.value()][static_cast<size_t>(chunk.phase)];
  if (part.count == 0) part.first = table_.store_.size();
  for (int64_t token = 0; token < chunk.tokens; ++token) {
    Line* const lines = table_.store_.Append();
    if (lines == nullptr) {
      return Error{"routing trace: memory and temporary disk are exhausted by the ranked rows of " +
                       std::to_string(table_.store_.size()) +
                       " tokens, which a batch-level rule of `experts` needs",
                   "routing"};
    }
    FillRow(chunk, token, reinterpret_cast<char*>(lines));
    ++part.count;
  }
  return Ok();
}

void RankedTable::Builder::FillRow(const RoutingChunk& chunk, int64_t token, char* row) const {
  const RankedShape& shape = table_.shape_;
  const Parts& parts = table_.parts_;
  auto* const ids = reinterpret_cast<uint16_t*>(row);
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    FillIds(chunk, token * shape.moe_layers + layer, ids + layer * shape.rank_stride());
  }
  if (parts.weights + parts.scores > 0) FillScores(chunk, token, row);
  const auto words = static_cast<size_t>(shape.row_words());
  const auto cells = static_cast<size_t>(shape.moe_layers * shape.rank_stride());
  FillMarks(shape, ids, rule_.BestRanks(shape.top_k),
            {.best = {reinterpret_cast<uint64_t*>(row + parts.best), words},
             .ranked = {reinterpret_cast<uint64_t*>(row + parts.ranked), words},
             .order = {reinterpret_cast<uint8_t*>(row + parts.order), cells}});
}

void RankedTable::Builder::FillIds(const RoutingChunk& chunk, int64_t cell, uint16_t* ids) const {
  const RankedShape& shape = table_.shape_;
  const int64_t further = shape.ranks - shape.top_k;
  const auto none = static_cast<uint16_t>(shape.experts);
  std::fill_n(ids, shape.rank_stride(), none);
  const auto own = static_cast<size_t>(cell * shape.top_k);
  const auto next = static_cast<size_t>(cell * further);
  if (chunk.ids[own] == kUnknownExpert) return;
  std::copy_n(chunk.ids.data() + own, shape.top_k, ids);
  if (further > 0) std::copy_n(chunk.further_ids.data() + next, further, ids + shape.top_k);
  std::replace(ids, ids + shape.ranks, kUnknownExpert, none);
}

void RankedTable::Builder::FillScores(const RoutingChunk& chunk, int64_t token, char* row) const {
  const RankedShape& shape = table_.shape_;
  const Parts& parts = table_.parts_;
  const int64_t further = shape.ranks - shape.top_k;
  for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
    const int64_t cell = token * shape.moe_layers + layer;
    const auto own = static_cast<size_t>(cell * shape.top_k);
    const auto next = static_cast<size_t>(cell * further);
    if (chunk.ids[own] == kUnknownExpert) continue;  // zeros already
    auto* const weights = reinterpret_cast<uint16_t*>(row + parts.weights);
    auto* const scores = reinterpret_cast<uint16_t*>(row + parts.scores);
    for (int64_t rank = 0; rank < shape.ranks; ++rank) {
      const float score =
          rank < shape.top_k ? chunk.scores[own + static_cast<size_t>(rank)]
                             : chunk.further_scores[next + static_cast<size_t>(rank - shape.top_k)];
      const int64_t at = layer * shape.rank_stride() + rank;
      if (parts.scores > 0) scores[at] = ScoreWeight(score);
      if (parts.weights > 0) {
        weights[at] = rule_.Weight(
            {.moe_layer = layer, .rank = rank, .score = score, .best = chunk.scores[own]});
      }
    }
  }
}

}  // namespace moecast
