#include "traces/routing_synthesis.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "sim/base/check.h"
#include "traces/twin/parametric_twin.h"
#include "traces/twin/synthesis_tables.h"

namespace moecast {
namespace {

constexpr uint32_t kWhole = 1u << 16;

uint32_t OfWhole(double chance) { return static_cast<uint32_t>(std::lround(chance * kWhole)); }

}  // namespace

RoutingSynthesiser::RoutingSynthesiser(const SyntheticRouting& spec, const RoutingHeader& header,
                                       Seed seed)
    : RoutingSynthesiser(TwinFromParameters(spec, header, seed), seed) {}

RoutingSynthesiser::RoutingSynthesiser(RoutingTwin twin, Seed seed)
    : twin_(std::move(twin)),
      seed_(seed),
      law_(twin_, seed),
      row_ids_(static_cast<int64_t>(twin_.header.moe_layers.size()) * twin_.header.top_k),
      distances_(DistanceQuantiles(twin_)),
      chosen_in_row_(static_cast<size_t>(twin_.header.experts)),
      limit_(twin_.limit, twin_.header.experts),
      further_row_ids_(static_cast<int64_t>(twin_.header.moe_layers.size()) *
                       twin_.header.further_ranks) {
  const Status usable = CheckTwin(twin_);
  SIM_CHECK(usable.ok());
  SetLayerLaws();
  if (twin_.header.has_scores) {
    SetScoreTables();
    SetFurtherRatios();
  }
}

void RoutingSynthesiser::SetLayerLaws() {
  const bool grouped = twin_.groups.size > 0;
  for (size_t layer = 0; layer < twin_.header.moe_layers.size(); ++layer) {
    const double affinity = grouped ? twin_.groups.affinity[layer] : 1;
    const double most = std::max(affinity, 1.0);
    layer_laws_.push_back({.keep = OfWhole(twin_.stickiness[layer]),
                           .accept_inside = OfWhole(affinity / most),
                           .accept_outside = OfWhole(1 / most)});
  }
  const auto experts = static_cast<size_t>(twin_.header.experts);
  const size_t size = grouped ? static_cast<size_t>(twin_.groups.size) : experts;
  for (size_t e = 0; e < experts; ++e) group_of_.push_back(static_cast<uint16_t>(e / size));
  group_in_row_.resize(experts);
}

void RoutingSynthesiser::SetScoreTables() {
  const ScoreTables tables = MakeScoreTables(twin_);
  ratios_ = tables.ratios;
  ratios_per_layer_ = tables.ratios_per_layer;
  for (const double tail : twin_.scores.tail) tail_ratios_.push_back(static_cast<float>(tail));
}

std::string RoutingSynthesiser::category() const {
  if (twin_.domains.size() > 1) return twin_.domains[domain_].name;
  return "topic " + std::to_string(topic_);
}

bool RoutingSynthesiser::Next(RoutingChunk& chunk) {
  if (!decode_is_next_) {
    if (next_sequence_ >= twin_.sequences) return false;
    Generate(static_cast<uint64_t>(next_sequence_));
    if (prefill_ + decode_ == 0) return false;  // then no sequence has tokens
  }
  const bool decode = decode_is_next_ || prefill_ == 0;
  chunk.sequence = SequenceId(static_cast<uint32_t>(next_sequence_));
  chunk.phase = decode ? RoutingPhase::kDecode : RoutingPhase::kPrefill;
  chunk.first_position = decode ? prefill_ : 0;
  chunk.tokens = decode ? decode_ : prefill_;
  const auto begin = static_cast<std::ptrdiff_t>(chunk.first_position * row_ids_);
  const auto end = begin + static_cast<std::ptrdiff_t>(chunk.tokens * row_ids_);
  chunk.ids.assign(ids_.begin() + begin, ids_.begin() + end);
  chunk.scores.clear();
  if (header().has_scores) chunk.scores.assign(scores_.begin() + begin, scores_.begin() + end);
  AssignFurther(chunk);
  decode_is_next_ = !decode && decode_ > 0;
  if (!decode_is_next_) ++next_sequence_;
  return true;
}

void RoutingSynthesiser::Generate(uint64_t sequence) {
  RngStream rng(seed_, "traces/routing/sequence", sequence);
  ChooseDomain(sequence, rng);
  topic_ = twin_.topics == 0
               ? static_cast<int64_t>(sequence)
               : static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(twin_.topics)));
  law_.Set(domain_, static_cast<uint64_t>(topic_));
  ChooseLengths(sequence);
  const int64_t tokens = prefill_ + decode_;
  ids_.resize(static_cast<size_t>(tokens * row_ids_));
  if (header().has_scores) scores_.resize(ids_.size());
  kinds_.resize(static_cast<size_t>(tokens));
  further_ids_.resize(static_cast<size_t>(tokens * further_row_ids_));
  if (header().has_scores) further_scores_.resize(further_ids_.size());
  // A stream of their own: what a token chose does not depend on what else was recorded.
  RngStream further(seed_, "traces/routing/further", sequence);
  for (int64_t token = 0; token < tokens; ++token) DrawToken(token, rng, further);
}

void RoutingSynthesiser::ChooseDomain(uint64_t sequence, RngStream& rng) {
  if (twin_.domains.size() == 1) return;
  if (twin_.order.in_turn) {
    domain_ = sequence / static_cast<uint64_t>(twin_.order.sequences) % twin_.domains.size();
    return;
  }
  double all = 0;
  for (const TwinDomain& domain : twin_.domains) all += domain.share;
  double left = rng.NextUniform() * all;
  domain_ = 0;
  while (domain_ + 1 < twin_.domains.size() && left >= twin_.domains[domain_].share) {
    left -= twin_.domains[domain_++].share;
  }
}

void RoutingSynthesiser::ChooseLengths(uint64_t sequence) {
  RngStream rng(seed_, "traces/routing/length", sequence);
  const double place = rng.NextUniform();
  const double factor = twin_.domains[domain_].length;
  prefill_ = LengthAt(twin_.prefill_tokens, place, factor);
  decode_ = LengthAt(twin_.decode_tokens, place, factor);
}

// All layers of a token take after one earlier token: what recurs in text is words.
void RoutingSynthesiser::DrawToken(int64_t token, RngStream& rng, RngStream& further) {
  const int64_t distance = distances_[rng.NextU64() >> (64 - kDistanceBits)];
  const uint16_t* earlier =
      distance <= token ? ids_.data() + (token - distance) * row_ids_ : nullptr;
  law_.SetKind(ChooseKind(token, distance, rng));
  uint16_t* row = ids_.data() + token * row_ids_;
  const int32_t ranks = header().further_ranks;
  uint16_t* next = further_ids_.data() + token * further_row_ids_;
  const uint16_t* earlier_next = earlier != nullptr ? next - distance * further_row_ids_ : nullptr;
  const auto layers = static_cast<int64_t>(header().moe_layers.size());
  for (int64_t layer = 0; layer < layers; ++layer, row += header().top_k, next += ranks) {
    DrawRow(layer, earlier, row, rng);
    if (ranks > 0) DrawFurther(layer, earlier_next, next, further);
    if (earlier == nullptr) continue;
    earlier += header().top_k;
    earlier_next += ranks;
  }
  if (!header().has_scores) return;
  float* scores = scores_.data() + token * row_ids_;
  for (int64_t layer = 0; layer < layers; ++layer, scores += header().top_k) {
    ScoreRow(layer, scores, rng);
  }
  if (ranks > 0) ScoreFurther(token);
}

// Of the earlier token's kind, or of any.
size_t RoutingSynthesiser::ChooseKind(int64_t token, int64_t distance, RngStream& rng) {
  const auto kinds = static_cast<uint64_t>(twin_.kinds.count);
  if (kinds == 1) return 0;
  const bool inherits = distance <= token && rng.NextUniform() < twin_.kinds.stickiness;
  const size_t kind = inherits ? kinds_[static_cast<size_t>(token - distance)]
                               : static_cast<size_t>(rng.NextBelow(kinds));
  kinds_[static_cast<size_t>(token)] = static_cast<uint16_t>(kind);
  return kind;
}

// A random word holds the chance to keep, a draw in case it does not, and whether the row accepts
// that, so that the choice needs no branch, which the processor could not foresee.
void RoutingSynthesiser::DrawRow(int64_t layer, const uint16_t* earlier, uint16_t* row,
                                 RngStream& rng) {
  ++row_;
  const std::span<const uint32_t> columns = law_.Columns(layer);
  const LayerLaw& law = layer_laws_[static_cast<size_t>(layer)];
  const uint32_t threshold = earlier != nullptr ? law.keep : 0;
  const uint16_t* source = earlier != nullptr ? earlier : row;
  const bool grouped = twin_.groups.size > 0;
  const int32_t top_k = header().top_k;
  limit_.StartRow();
  for (int32_t rank = 0; rank < top_k; ++rank) {
    const uint64_t word = rng.NextU64();
    const bool keep = (word >> 48) < threshold;
    const uint16_t drawn = DrawExpert(columns, static_cast<uint32_t>(word));
    const uint16_t old = source[rank];
    uint16_t expert = keep ? old : drawn;
    const bool refused = grouped && !keep && !Accepts(law, drawn, word);
    if (refused || chosen_in_row_[expert] == row_ || !limit_.Allows(expert)) {
      expert = DrawUnused(layer, rng);
    }
    row[rank] = expert;
    limit_.Take(expert);
    chosen_in_row_[expert] = row_;
    if (grouped) group_in_row_[group_of_[expert]] = row_;
  }
}

bool RoutingSynthesiser::Accepts(const LayerLaw& law, uint16_t expert, uint64_t word) const {
  const uint32_t threshold =
      group_in_row_[group_of_[expert]] == row_ ? law.accept_inside : law.accept_outside;
  return ((word >> 32) & (kWhole - 1)) < threshold;
}

// Drawing again until the expert is new and accepted is drawing without replacement. When nearly
// everything is taken, the first free expert at or after the draw ends the search.
uint16_t RoutingSynthesiser::DrawUnused(int64_t layer, RngStream& rng) const {
  constexpr int kMaxDraws = 64;
  const std::span<const uint32_t> columns = law_.Columns(layer);
  const LayerLaw& law = layer_laws_[static_cast<size_t>(layer)];
  uint16_t expert = 0;
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    const uint64_t word = rng.NextU64();
    expert = DrawExpert(columns, static_cast<uint32_t>(word));
    const bool free = chosen_in_row_[expert] != row_ && limit_.Allows(expert);
    if (free && Accepts(law, expert, word)) return expert;
  }
  while (chosen_in_row_[expert] == row_ || !limit_.Allows(expert)) {
    expert = static_cast<uint16_t>((expert + 1u) % columns.size());
  }
  return expert;
}

void RoutingSynthesiser::ScoreRow(int64_t layer, float* scores, RngStream& rng) const {
  constexpr uint64_t kMask = (1u << kRatioBits) - 1;
  constexpr int kRatiosPerWord = 64 / kRatioBits;
  const int32_t top_k = header().top_k;
  const float* ratios = ratios_.data() + static_cast<size_t>(layer) * ratios_per_layer_;
  scores[0] = 1;
  float sum = 1;
  uint64_t word = 0;
  for (int32_t rank = 1; rank < top_k; ++rank) {
    if ((rank - 1) % kRatiosPerWord == 0) word = rng.NextU64();
    const uint64_t quantile = word & kMask;
    word >>= kRatioBits;
    const auto row = static_cast<uint64_t>(rank - 1) << kRatioBits;
    scores[rank] = scores[rank - 1] * ratios[row + quantile];
    sum += scores[rank];
  }
  const float tail = tail_ratios_[static_cast<size_t>(layer)];
  const float share = 1 / (sum + scores[top_k - 1] * tail);
  for (int32_t rank = 0; rank < top_k; ++rank) scores[rank] *= share;
}

}  // namespace moecast
