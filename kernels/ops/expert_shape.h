// ExpertShape: the sizes of one MoE layer's routed experts. Plain numbers, so that references and
// sweep plans need no CUDA.
#pragma once

#include <cstdint>

namespace moecast::kernels {

struct ExpertShape {
  int32_t tokens = 0;        // T
  int32_t top_k = 0;         // slots per token at most
  int32_t experts = 0;       // E
  int32_t hidden = 0;        // H
  int32_t intermediate = 0;  // I
};

/// Token tile: rows of one expert are padded to a multiple of this many (the N of the product).
inline constexpr int kExpertTileRows = 8;
/// Weight rows of one fragment (the M of the product).
inline constexpr int kFragmentRows = 16;

}  // namespace moecast::kernels
