// RoutingImage: the routing of every MoE layer of a step, aligned by expert as the route op would
// write it, in one block of words that a single copy brings to the device. The step's experts are
// given, so the route op that runs beside it decides nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moecast::kernels {

struct RoutingShape {
  int32_t layers = 0;  // MoE layers
  int32_t rows = 0;    // tokens, padding included: rows without experts
  int32_t top_k = 0;
  int32_t experts = 0;
};

/// Offsets of one layer's arrays from the layer's first word; each starts at a multiple of 16
/// bytes. Sizes and meaning as in RouteBuffers.
struct RoutingLayout {
  size_t active_experts = 0;
  size_t active_count = 0;
  size_t offsets = 0;
  size_t slot_token = 0;
  size_t position_of_slot = 0;
  size_t weight_of_slot = 0;  // float32
  size_t layer_words = 0;
};
RoutingLayout LayoutOf(const RoutingShape& shape);

class RoutingImage {
 public:
  /// What stands for no expert in the ids.
  static constexpr uint16_t kNone = 0xffff;

  /// Writes the image of `ids` [layers][tokens][top_k], tokens <= rows; a token's kept experts get
  /// equal weights. REQUIRES: ids are below experts or kNone.
  /// RETURNS: [layers * layer_words], valid until the next call.
  std::span<const int32_t> Fill(const RoutingShape& shape, std::span<const uint16_t> ids);

 private:
  void FillLayer(const RoutingShape& shape, std::span<const uint16_t> ids,
                 std::span<int32_t> words);

  std::vector<int32_t> words_;
  std::vector<int32_t> next_row_;  // [experts]
};

}  // namespace moecast::kernels
