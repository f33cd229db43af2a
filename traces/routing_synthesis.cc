#include "traces/routing_synthesis.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

constexpr int kDistanceBits = 12;  // the distance's law is a table of this many index bits
constexpr int kRatioBits = 10;     // and so is each score ratio's
constexpr uint32_t kWhole = 1u << 16;

/// The middle of the i-th of 2^bits equal parts of (0, 1).
double Middle(uint32_t i, int bits) {
  return (static_cast<double>(i) + 1.0 / 2.0) / static_cast<double>(1u << bits);
}

/// Distance n with P(distance >= n) = n^-decay. Eq. S3.
std::vector<int64_t> DistanceQuantiles(double decay) {
  constexpr double kFarthest = 1 << 30;
  std::vector<int64_t> distances(1u << kDistanceBits);
  for (uint32_t i = 0; i < distances.size(); ++i) {
    const double distance = std::pow(Middle(i, kDistanceBits), -1 / decay);
    distances[i] = static_cast<int64_t>(std::min(distance, kFarthest));
  }
  return distances;
}

/// Quantiles of U^(1/(temperature * rank)), the score of rank + 1 over that of rank. Eq. S4.
std::vector<float> ScoreRatios(int32_t top_k, double temperature) {
  std::vector<float> ratios;
  for (int32_t rank = 1; rank < top_k; ++rank) {
    for (uint32_t i = 0; i < 1u << kRatioBits; ++i) {
      const double ratio = std::pow(Middle(i, kRatioBits), 1 / (temperature * rank));
      // Rounded, so that a mathematics library's last bit does not show.
      ratios.push_back(static_cast<float>(std::round(ratio * kWhole) / kWhole));
    }
  }
  return ratios;
}

/// Expected scores of ranks k+1..experts over the k-th rank's. Eq. S5.
double TailRatio(const RoutingHeader& header, double temperature) {
  double tail = 0;
  double product = 1;
  for (int32_t rank = header.top_k; rank < header.experts; ++rank) {
    product *= rank * temperature / (rank * temperature + 1);
    tail += product;
  }
  return tail;
}

ExpertLawSpec LawSpec(const SyntheticRouting& spec, const RoutingHeader& header) {
  SIM_CHECK(header.top_k >= 1 && header.top_k <= header.experts);
  return {.layers = static_cast<int64_t>(header.moe_layers.size()),
          .experts = header.experts,
          .spread = spec.popularity_spread,
          .skew = spec.popularity_skew,
          .topic_strength = spec.topic_strength};
}

}  // namespace

RoutingSynthesiser::RoutingSynthesiser(const SyntheticRouting& spec, RoutingHeader header,
                                       Seed seed)
    : spec_(spec),
      header_(std::move(header)),
      seed_(seed),
      law_(LawSpec(spec_, header_), seed),
      row_ids_(static_cast<int64_t>(header_.moe_layers.size()) * header_.top_k),
      repeat_threshold_(static_cast<uint32_t>(std::lround(spec.stickiness * kWhole))),
      distances_(DistanceQuantiles(spec.stickiness_decay)),
      chosen_in_row_(static_cast<size_t>(header_.experts)) {
  SIM_CHECK(spec.topics >= 1 && spec.stickiness >= 0 && spec.stickiness <= 1);
  SIM_CHECK(spec.stickiness_decay > 0 && spec.score_temperature > 0);
  SIM_CHECK(spec.sequences >= 0 && spec.prefill_tokens >= 0 && spec.decode_tokens >= 0);
  if (header_.has_scores) {
    ratios_ = ScoreRatios(header_.top_k, spec.score_temperature);
    tail_ratio_ = static_cast<float>(TailRatio(header_, spec.score_temperature));
  }
}

bool RoutingSynthesiser::Next(RoutingChunk& chunk) {
  const int64_t all = spec_.prefill_tokens + spec_.decode_tokens;
  if (next_sequence_ >= spec_.sequences || all == 0) return false;
  if (!decode_is_next_) Generate(static_cast<uint64_t>(next_sequence_));
  const bool decode = decode_is_next_ || spec_.prefill_tokens == 0;
  chunk.sequence = SequenceId(static_cast<uint32_t>(next_sequence_));
  chunk.phase = decode ? RoutingPhase::kDecode : RoutingPhase::kPrefill;
  chunk.first_position = decode ? spec_.prefill_tokens : 0;
  chunk.tokens = decode ? spec_.decode_tokens : spec_.prefill_tokens;
  const auto begin = static_cast<std::ptrdiff_t>(chunk.first_position * row_ids_);
  const auto end = begin + static_cast<std::ptrdiff_t>(chunk.tokens * row_ids_);
  chunk.ids.assign(ids_.begin() + begin, ids_.begin() + end);
  chunk.scores.clear();
  if (header_.has_scores) chunk.scores.assign(scores_.begin() + begin, scores_.begin() + end);
  decode_is_next_ = !decode && spec_.decode_tokens > 0;
  if (!decode_is_next_) ++next_sequence_;
  return true;
}

void RoutingSynthesiser::Generate(uint64_t sequence) {
  RngStream rng(seed_, "traces/routing/sequence", sequence);
  topic_ = static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(spec_.topics)));
  law_.SetTopic(static_cast<uint64_t>(topic_));
  const int64_t tokens = spec_.prefill_tokens + spec_.decode_tokens;
  ids_.resize(static_cast<size_t>(tokens * row_ids_));
  if (header_.has_scores) scores_.resize(ids_.size());
  for (int64_t token = 0; token < tokens; ++token) DrawToken(token, rng);
}

// All layers of a token repeat one earlier token: what recurs in text is words.
void RoutingSynthesiser::DrawToken(int64_t token, RngStream& rng) {
  const int64_t distance = distances_[rng.NextU64() >> (64 - kDistanceBits)];
  const uint16_t* repeated =
      distance <= token ? ids_.data() + (token - distance) * row_ids_ : nullptr;
  uint16_t* row = ids_.data() + token * row_ids_;
  const auto layers = static_cast<int64_t>(header_.moe_layers.size());
  for (int64_t layer = 0; layer < layers; ++layer, row += header_.top_k) {
    DrawRow(layer, repeated, row, rng);
    if (repeated != nullptr) repeated += header_.top_k;
  }
  if (!header_.has_scores) return;
  float* scores = scores_.data() + token * row_ids_;
  for (int64_t layer = 0; layer < layers; ++layer, scores += header_.top_k) ScoreRow(scores, rng);
}

// A word holds both the chance to repeat and a draw in case it does not, so that the choice between
// them needs no branch, which the processor could not foresee.
void RoutingSynthesiser::DrawRow(int64_t layer, const uint16_t* repeated, uint16_t* row,
                                 RngStream& rng) {
  ++row_;
  const std::span<const uint32_t> columns = law_.Columns(layer);
  const uint32_t threshold = repeated != nullptr ? repeat_threshold_ : 0;
  const uint16_t* source = repeated != nullptr ? repeated : row;
  const int32_t top_k = header_.top_k;
  for (int32_t rank = 0; rank < top_k; ++rank) {
    const uint64_t word = rng.NextU64();
    const uint16_t drawn = DrawExpert(columns, static_cast<uint32_t>(word));
    const uint16_t old = source[rank];
    uint16_t expert = (word >> 48) < threshold ? old : drawn;
    if (chosen_in_row_[expert] == row_) expert = DrawUnused(columns, rng);
    row[rank] = expert;
    chosen_in_row_[expert] = row_;
  }
}

// Drawing again until the expert is new is drawing without replacement. When nearly everything is
// taken, the first free expert at or after the draw ends the search.
uint16_t RoutingSynthesiser::DrawUnused(std::span<const uint32_t> columns, RngStream& rng) const {
  constexpr int kMaxDraws = 64;
  uint16_t expert = 0;
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    expert = DrawExpert(columns, static_cast<uint32_t>(rng.NextU64()));
    if (chosen_in_row_[expert] != row_) return expert;
  }
  while (chosen_in_row_[expert] == row_) {
    expert = static_cast<uint16_t>((expert + 1u) % columns.size());
  }
  return expert;
}

void RoutingSynthesiser::ScoreRow(float* scores, RngStream& rng) const {
  constexpr uint64_t kMask = (1u << kRatioBits) - 1;
  constexpr int kRatiosPerWord = 64 / kRatioBits;
  const int32_t top_k = header_.top_k;
  scores[0] = 1;
  float sum = 1;
  uint64_t word = 0;
  for (int32_t rank = 1; rank < top_k; ++rank) {
    if ((rank - 1) % kRatiosPerWord == 0) word = rng.NextU64();
    const uint64_t quantile = word & kMask;
    word >>= kRatioBits;
    const auto row = static_cast<uint64_t>(rank - 1) << kRatioBits;
    scores[rank] = scores[rank - 1] * ratios_[row + quantile];
    sum += scores[rank];
  }
  const float share = 1 / (sum + scores[top_k - 1] * tail_ratio_);
  for (int32_t rank = 0; rank < top_k; ++rank) scores[rank] *= share;
}

}  // namespace moecast
