#include "sim/replay/ranked_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

int64_t RowCells(const RankedShape& shape) { return shape.moe_layers * shape.rank_stride(); }

int64_t LinesOf(const RankedShape& shape, bool has_weights) {
  const int64_t cells = RowCells(shape) * (has_weights ? 2 : 1);
  constexpr auto kCellsPerLine = static_cast<int64_t>(sizeof(Line) / sizeof(uint16_t));
  return (cells + kCellsPerLine - 1) / kCellsPerLine;
}

RankedShape ShapeOf(const RoutingHeader& header) {
  return {.moe_layers = std::ssize(header.moe_layers),
          .experts = header.experts,
          .top_k = header.top_k,
          .ranks = header.top_k + header.further_ranks};
}

}  // namespace

RankedTable::RankedTable(const RankedShape& shape, bool has_weights, int64_t resident_bytes)
    : shape_(shape),
      has_weights_(has_weights),
      store_(LinesOf(shape, has_weights), resident_bytes / 2),
      window_bytes_(resident_bytes / 2) {}

RankedTable::Row RankedTable::row(SequenceId sequence, RoutingPhase phase, int64_t row) const {
  const auto* ids =
      reinterpret_cast<const uint16_t*>(store_.row(part(sequence, phase).first + row));
  return {.ids = ids, .weights = has_weights_ ? ids + RowCells(shape_) : nullptr};
}

RankedTable::Builder::Builder(const RoutingHeader& header, BatchRule rule, int64_t resident_bytes)
    : table_(ShapeOf(header), rule.HasWeights(), resident_bytes), rule_(std::move(rule)) {
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
  const RankedShape& shape = table_.shape_;
  for (int64_t token = 0; token < chunk.tokens; ++token) {
    Line* const lines = table_.store_.Append();
    if (lines == nullptr) {
      return Error{"routing trace: memory and temporary disk are exhausted by the ranked rows of " +
                       std::to_string(table_.store_.size()) +
                       " tokens, which a batch-level rule of `experts` needs",
                   "routing"};
    }
    auto* ids = reinterpret_cast<uint16_t*>(lines);
    uint16_t* weights = table_.has_weights_ ? ids + RowCells(shape) : nullptr;
    for (int64_t layer = 0; layer < shape.moe_layers; ++layer) {
      FillRow(chunk, token * shape.moe_layers + layer, layer, ids, weights);
      ids += shape.rank_stride();
      if (weights != nullptr) weights += shape.rank_stride();
    }
    ++part.count;
  }
  return Ok();
}

void RankedTable::Builder::FillRow(const RoutingChunk& chunk, int64_t cell, int64_t moe_layer,
                                   uint16_t* ids, uint16_t* weights) const {
  const RankedShape& shape = table_.shape_;
  const int64_t further = shape.ranks - shape.top_k;
  const auto none = static_cast<uint16_t>(shape.experts);
  std::fill_n(ids, shape.rank_stride(), none);  // weights are zeros already
  const auto own = static_cast<size_t>(cell * shape.top_k);
  const auto next = static_cast<size_t>(cell * further);
  if (chunk.ids[own] == kUnknownExpert) return;
  std::copy_n(chunk.ids.data() + own, shape.top_k, ids);
  if (further > 0) std::copy_n(chunk.further_ids.data() + next, further, ids + shape.top_k);
  for (int64_t rank = 0; rank < shape.ranks; ++rank) {
    if (ids[rank] == kUnknownExpert) ids[rank] = none;
  }
  if (weights == nullptr) return;
  const float best = chunk.scores[own];
  for (int64_t rank = 0; rank < shape.ranks; ++rank) {
    const float score = rank < shape.top_k
                            ? chunk.scores[own + static_cast<size_t>(rank)]
                            : chunk.further_scores[next + static_cast<size_t>(rank - shape.top_k)];
    weights[rank] =
        rule_.Weight({.moe_layer = moe_layer, .rank = rank, .score = score, .best = best});
  }
}

}  // namespace moecast
