// Further ranks of generated routing: the experts a token would have taken next.
#include <algorithm>
#include <cmath>
#include <span>

#include "traces/routing_synthesis.h"

namespace moecast {
namespace {

/// q with q + q^2 + ... + q^terms = sum, at most 1: scores that fall evenly and hold the mass that
/// the experts not chosen have.
double FallOf(double sum, int64_t terms) {
  constexpr int kHalvings = 40;
  double low = 0;
  double high = 1;
  for (int i = 0; i < kHalvings; ++i) {
    const double q = (low + high) / 2;
    const double held = q * (1 - std::pow(q, static_cast<double>(terms))) / (1 - q);
    (held < sum ? low : high) = q;
  }
  return low;
}

}  // namespace

void RoutingSynthesiser::SetFurtherRatios() {
  if (header().further_ranks == 0) return;
  const int64_t others = header().experts - header().top_k;
  for (const float tail : tail_ratios_) {
    further_ratios_.push_back(static_cast<float>(FallOf(tail, others)));
  }
}

// As the top-k: some ranks keep the earlier token's, the others are drawn without replacement. A
// router's limit on groups holds for what is chosen, not for what comes next.
void RoutingSynthesiser::DrawFurther(int64_t layer, const uint16_t* earlier, uint16_t* row,
                                     RngStream& rng) {
  const std::span<const uint32_t> columns = law_.Columns(layer);
  const uint32_t threshold = earlier != nullptr ? layer_laws_[static_cast<size_t>(layer)].keep : 0;
  constexpr int kMostDraws = 64;
  for (int32_t rank = 0; rank < header().further_ranks; ++rank) {
    uint64_t word = rng.NextU64();
    const bool keep = (word >> 48) < threshold;
    uint16_t expert = keep ? earlier[rank] : DrawExpert(columns, static_cast<uint32_t>(word));
    for (int draw = 0; draw < kMostDraws && chosen_in_row_[expert] == row_; ++draw) {
      word = rng.NextU64();
      expert = DrawExpert(columns, static_cast<uint32_t>(word));
    }
    while (chosen_in_row_[expert] == row_) {
      expert = static_cast<uint16_t>((expert + 1u) % columns.size());
    }
    row[rank] = expert;
    chosen_in_row_[expert] = row_;
  }
}

void RoutingSynthesiser::ScoreFurther(int64_t token) {
  const int32_t top_k = header().top_k;
  const float* scores = scores_.data() + token * row_ids_;
  float* next = further_scores_.data() + token * further_row_ids_;
  for (const float ratio : further_ratios_) {
    float score = scores[top_k - 1];
    for (int32_t rank = 0; rank < header().further_ranks; ++rank) *next++ = score *= ratio;
    scores += top_k;
  }
}

void RoutingSynthesiser::AssignFurther(RoutingChunk& chunk) const {
  const auto begin = static_cast<std::ptrdiff_t>(chunk.first_position * further_row_ids_);
  const auto end = begin + static_cast<std::ptrdiff_t>(chunk.tokens * further_row_ids_);
  chunk.further_ids.assign(further_ids_.begin() + begin, further_ids_.begin() + end);
  chunk.further_scores.clear();
  if (!header().has_scores) return;
  chunk.further_scores.assign(further_scores_.begin() + begin, further_scores_.begin() + end);
}

}  // namespace moecast
