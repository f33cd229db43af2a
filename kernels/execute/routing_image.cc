#include "kernels/execute/routing_image.h"

#include <algorithm>
#include <bit>

#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

size_t Aligned(size_t words) {
  constexpr size_t kWords = 4;  // 16 bytes
  return (words + kWords - 1) / kWords * kWords;
}

}  // namespace

RoutingLayout LayoutOf(const RoutingShape& shape) {
  const auto experts = static_cast<size_t>(shape.experts);
  const size_t slots = static_cast<size_t>(shape.rows) * static_cast<size_t>(shape.top_k);
  RoutingLayout layout;
  layout.active_count = Aligned(experts);
  layout.offsets = layout.active_count + Aligned(1);
  layout.slot_token = layout.offsets + Aligned(experts + 1);
  layout.position_of_slot = layout.slot_token + Aligned(slots);
  layout.weight_of_slot = layout.position_of_slot + Aligned(slots);
  layout.layer_words = layout.weight_of_slot + Aligned(slots);
  return layout;
}

std::span<const int32_t> RoutingImage::Fill(const RoutingShape& shape,
                                            std::span<const uint16_t> ids) {
  const auto layers = static_cast<size_t>(shape.layers);
  const size_t words = LayoutOf(shape).layer_words;
  words_.assign(layers * words, 0);
  if (layers == 0) return words_;
  const size_t per_layer = ids.size() / layers;
  SIM_CHECK(per_layer * layers == ids.size() && per_layer % static_cast<size_t>(shape.top_k) == 0);
  for (size_t layer = 0; layer < layers; ++layer) {
    FillLayer(shape, ids.subspan(layer * per_layer, per_layer),
              std::span(words_).subspan(layer * words, words));
  }
  return words_;
}

void RoutingImage::FillLayer(const RoutingShape& shape, std::span<const uint16_t> ids,
                             std::span<int32_t> words) {
  const RoutingLayout at = LayoutOf(shape);
  const auto top_k = static_cast<size_t>(shape.top_k);
  next_row_.assign(static_cast<size_t>(shape.experts), 0);
  for (const uint16_t id : ids) {
    if (id != kNone) ++next_row_[id];
  }
  size_t active = 0;
  int32_t row = 0;
  for (size_t expert = 0; expert < next_row_.size(); ++expert) {
    const int32_t count = next_row_[expert];
    next_row_[expert] = row;
    if (count == 0) continue;
    words[at.active_experts + active] = static_cast<int32_t>(expert);
    words[at.offsets + active++] = row;
    row += count;
  }
  words[at.offsets + active] = row;
  words[at.active_count] = static_cast<int32_t>(active);
  std::fill_n(words.begin() + static_cast<std::ptrdiff_t>(at.position_of_slot),
              static_cast<size_t>(shape.rows) * top_k, -1);
  for (size_t token = 0; token < ids.size() / top_k; ++token) {
    const std::span<const uint16_t> chosen = ids.subspan(token * top_k, top_k);
    const auto kept = top_k - static_cast<size_t>(std::ranges::count(chosen, kNone));
    const float weight = kept == 0 ? 0 : 1 / static_cast<float>(kept);
    for (size_t j = 0; j < top_k; ++j) {
      if (chosen[j] == kNone) continue;
      const int32_t position = next_row_[chosen[j]]++;
      words[at.slot_token + static_cast<size_t>(position)] = static_cast<int32_t>(token);
      words[at.position_of_slot + token * top_k + j] = position;
      words[at.weight_of_slot + token * top_k + j] = std::bit_cast<int32_t>(weight);
    }
  }
}

}  // namespace moecast::kernels
