#include "traces/expert_pruning.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/base/check.h"

namespace moecast {

ExpertUse::ExpertUse(const RoutingHeader& header)
    : layers_(header.moe_layers.size()),
      experts_(static_cast<size_t>(header.experts)),
      top_k_(static_cast<size_t>(header.top_k)),
      counts_(layers_ * experts_),
      scores_(layers_ * experts_) {}

void ExpertUse::Add(const RoutingChunk& chunk) {
  for (size_t i = 0; i < chunk.ids.size(); ++i) {
    if (chunk.ids[i] == kUnknownExpert) continue;
    const size_t cell = i / top_k_ % layers_ * experts_ + chunk.ids[i];
    ++counts_[cell];
    if (!chunk.scores.empty()) scores_[cell] += static_cast<double>(chunk.scores[i]);
  }
}

ExpertPruning::ExpertPruning(const RoutingHeader& header, const PruningSpec& spec,
                             const ExpertUse& use, Seed seed)
    : native_(header), pruned_(header) {
  const auto experts = static_cast<size_t>(header.experts);
  const auto stay = static_cast<size_t>(spec.experts);
  SIM_CHECK(stay >= 1 && stay < experts && spec.native_experts == header.experts);
  pruned_.experts = static_cast<int32_t>(spec.experts);
  pruned_.top_k = std::min(header.top_k, pruned_.experts);
  pruned_.further_ranks =
      std::min(header.top_k + header.further_ranks, pruned_.experts) - pruned_.top_k;
  for (size_t layer = 0; layer < header.moe_layers.size(); ++layer) {
    RngStream rng(seed, "experts/pruning", layer);
    std::vector<double> key(experts);
    for (size_t e = 0; e < experts; ++e) {
      const size_t cell = layer * experts + e;
      key[e] = spec.order == PruningOrder::kRandom      ? rng.NextUniform()
               : spec.order == PruningOrder::kHardCount ? static_cast<double>(use.counts()[cell])
                                                        : use.scores()[cell];
    }
    std::vector<uint16_t> order(experts);
    std::iota(order.begin(), order.end(), uint16_t{0});
    std::ranges::stable_sort(order, std::greater<>(), [&key](uint16_t e) { return key[e]; });
    order.resize(stay);
    std::vector<uint16_t>& kept = kept_.emplace_back(order);
    std::ranges::sort(kept);
    std::vector<uint16_t>& renumber = renumber_.emplace_back(experts, kUnknownExpert);
    for (size_t i = 0; i < stay; ++i) renumber[kept[i]] = static_cast<uint16_t>(i);
    std::vector<uint16_t>& by_use = by_use_.emplace_back();
    for (const uint16_t e : order) by_use.push_back(renumber[e]);
  }
  taken_.resize(stay);
}

/// Leaves the row's kept experts in row_, best first, completed to all ranks.
void ExpertPruning::PruneRow(const RoutingChunk& chunk, size_t cell, size_t layer) {
  const auto top_k = static_cast<size_t>(native_.top_k);
  const auto further = static_cast<size_t>(native_.further_ranks);
  const auto wanted = static_cast<size_t>(pruned_.top_k + pruned_.further_ranks);
  row_.clear();
  const auto take = [&](uint16_t expert, float score) {
    const uint16_t number = expert == kUnknownExpert ? kUnknownExpert : renumber_[layer][expert];
    if (number == kUnknownExpert || row_.size() == wanted) return;
    row_.push_back({number, score});
    taken_[number] = 1;
  };
  const bool scored = !chunk.scores.empty();
  for (size_t i = cell * top_k; i < (cell + 1) * top_k; ++i) {
    take(chunk.ids[i], scored ? chunk.scores[i] : 0);
  }
  for (size_t i = cell * further; i < (cell + 1) * further; ++i) {
    take(chunk.further_ids[i], scored ? chunk.further_scores[i] : 0);
  }
  const auto places = static_cast<size_t>(pruned_.top_k);
  places_ += places;
  completed_ += places - std::min(places, row_.size());
  for (const uint16_t expert : by_use_[layer]) {
    if (row_.size() == wanted) break;
    if (taken_[expert] != 0) continue;
    row_.push_back({expert, 0});
    taken_[expert] = 1;
  }
  for (const RankedExpert& each : row_) taken_[each.expert] = 0;
}

void ExpertPruning::Apply(RoutingChunk& chunk) {
  const size_t layers = native_.moe_layers.size();
  const auto cells = static_cast<size_t>(chunk.tokens) * layers;
  const auto top_k = static_cast<size_t>(pruned_.top_k);
  const auto further = static_cast<size_t>(pruned_.further_ranks);
  const bool scored = native_.has_scores;
  out_.ids.clear();
  out_.scores.clear();
  out_.further_ids.clear();
  out_.further_scores.clear();
  for (size_t cell = 0; cell < cells; ++cell) {
    if (chunk.ids[cell * static_cast<size_t>(native_.top_k)] == kUnknownExpert) {
      row_.assign(top_k + further, {kUnknownExpert, 0});
    } else {
      PruneRow(chunk, cell, cell % layers);
    }
    for (size_t rank = 0; rank < row_.size(); ++rank) {
      const bool own = rank < top_k;
      (own ? out_.ids : out_.further_ids).push_back(row_[rank].expert);
      if (scored) (own ? out_.scores : out_.further_scores).push_back(row_[rank].score);
    }
  }
  std::swap(chunk.ids, out_.ids);
  std::swap(chunk.scores, out_.scores);
  std::swap(chunk.further_ids, out_.further_ids);
  std::swap(chunk.further_scores, out_.further_scores);
}

}  // namespace moecast
