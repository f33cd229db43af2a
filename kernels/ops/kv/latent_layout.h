// LatentLayout: the bytes of 64 tokens of a layer with multi-head latent attention. A token has one
// latent of 512 channels, stored at 16, 8 or 4 bits, and a rotary part of 64 that stays bf16; both
// serve all query heads, so there is one KV head.
//
// A page is latent codes [64 tokens][512 channels], then the rotary parts [64][64] bf16, then
// metadata; rows are row-major, so that a product that stages tiles in shared memory may bring them
// as boxes. A row's codes: bf16 and fp8 in order of channels; at 4 bits a 32-bit word holds
// channels 8 w .. 8 w + 7, channel 8 w + 2 j + h in bits 4 j + 16 h, so that (word >> 4 j) &
// 0x000f000f is the pair (2 j, 2 j + 1). Groups are 128 channels of a token, number channel / 128 *
// 64 + token: float32 scales for fp8; float16 scales, then float16 zeros, for 4 bits.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

inline constexpr int kLatentChannels = 512;
inline constexpr int kRotaryChannels = 64;
inline constexpr int kLatentGroup = 128;

/// Offsets from the start of a page, multiples of 128.
struct LatentLayout {
  int32_t row_bytes = 0;  // of a token's codes
  int32_t rotary = 0;
  int32_t scales = 0;
  int32_t zeros = 0;  // of 4 bits
  int32_t page_bytes = 0;
};

/// REQUIRES: kBf16, kE4m3 or kInt4.
constexpr LatentLayout LatentLayoutOf(KvElement element) {
  constexpr int32_t kGroups = kLatentChannels / kLatentGroup * kPageTokens;
  LatentLayout layout;
  layout.row_bytes = kLatentChannels * BitsOf(element) / 8;
  layout.rotary = kPageTokens * layout.row_bytes;
  layout.scales = layout.rotary + kPageTokens * kRotaryChannels * 2;
  layout.zeros = layout.scales + (IsInteger(element) ? 2 * kGroups : 0);
  layout.page_bytes = layout.scales + (element == KvElement::kBf16 ? 0 : 4 * kGroups);
  return layout;
}

/// Bit of a channel's code in its token's row.
constexpr int32_t LatentBit(KvElement element, int channel) {
  if (element == KvElement::kInt4)
    return channel / 8 * 32 + 4 * (channel % 8 / 2) + 16 * (channel % 2);
  return channel * BitsOf(element);
}

}  // namespace moecast::kernels
