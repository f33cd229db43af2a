// Page layout: the bytes of 64 tokens of one KV head, bit by bit (docs/formats/kv_pages.md says the
// same in prose). Constexpr throughout, shared by kernels, references and tests.
//
// A page is a key part and a value part, each codes first and then their metadata; a part whose
// codes are another layer's has metadata only. Page p of KV head h starts at byte
// (p * kv_heads + h) * page_bytes of the layer's pool; p is what the block table, int32
// [sequence][token / 64], holds. All layers of a model share one block table.
//
// Codes lie in the order in which mma.sync.m16n8k16 takes its A operand (or B: the same words), so
// that a lane's 16 bytes are its operands. A fragment is 16 rows x 16 columns, columns being what
// is summed over: for keys rows are tokens and columns are channels, for values rows are channels
// and columns are tokens. Lane l = 4 g + q holds of a fragment, in 32-bit register i of four,
//   rows g + 8 (i % 2), columns 2 q + 8 (i / 2) + h, h = 0, 1: a pair.
// A unit is 512 bytes, 16 for each lane: word i has register i of all fragments of the unit, pair j
// of fragment j:
//   bits  channels x tokens of a unit   bit of element h of pair j
//   16     16 x 16                      16 h
//    8     32 x 16                      16 j + 8 h
//    4     64 x 16                      16 h + 4 j
//    2     64 x 32                      16 h + 2 j
//    1     64 x 64                      16 h + j
// Fragment j is channel tile j % C, token tile j / C of the unit, with C = channels / 16; of 1-bit
// keys it is token tile j % 4, channel tile j / 4, so that a byte's neighbours are channels. Units
// follow each other by tokens, then channels.
//
// Metadata: one scale per group, all of them before the zeros; float16 both for integers, float32
// scales alone for fp8, none for bf16. Group number on the token axis: channel / group * 64 +
// place(token); on the channel axis: token / group * head_dim + place(channel), tokens counted in
// the page. place permutes runs of 32 so that the eight that a lane's fragments need, x % 8 / 2
// == q, lie together. A group of 128 tokens spans two pages and stands in both.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

enum class KvSide : int32_t { kKeys, kValues };

/// Rows and columns of a fragment.
inline constexpr int kTile = 16;
/// Bytes of a unit, and 32-bit words of it.
inline constexpr int kUnitBytes = 512;
inline constexpr int kUnitWords = kUnitBytes / 4;

/// Fragments of a unit along channels and along tokens.
constexpr int UnitChannelTiles(int bits) { return bits == 16 ? 1 : bits == 8 ? 2 : 4; }
constexpr int UnitTokenTiles(int bits) { return bits == 2 ? 2 : bits == 1 ? 4 : 1; }

/// A code's place among the codes of a part: 32-bit word, and its lowest bit in it.
struct CodePlace {
  int32_t word = 0;
  int32_t shift = 0;
};

/// REQUIRES: 0 <= token < 64, 0 <= channel < head_dim, head_dim % 64 == 0.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): callers name them; a page test has all
constexpr CodePlace PlaceOf(KvSide side, int bits, int head_dim, int token, int channel) {
  const bool keys = side == KvSide::kKeys;
  const int channels = UnitChannelTiles(bits);
  const int tokens = UnitTokenTiles(bits);
  const int channel_tile = channel / kTile;
  const int token_tile = token / kTile;
  const int unit = token_tile / tokens * (head_dim / kTile / channels) + channel_tile / channels;
  const int pair = keys && bits == 1 ? token_tile % tokens + tokens * (channel_tile % channels)
                                     : channel_tile % channels + channels * (token_tile % tokens);
  const int row = (keys ? token : channel) % kTile;
  const int column = (keys ? channel : token) % kTile;
  const int lane = row % 8 * 4 + column % 8 / 2;
  const int reg = row / 8 + 2 * (column / 8);
  const int half = column % 2;
  return {.word = unit * kUnitWords + lane * 4 + reg,
          .shift = bits == 8 ? 16 * pair + 8 * half : 16 * half + bits * pair};
}

/// Where a part's bytes are in a page; offsets from the start of the page, multiples of 16.
struct PartLayout {
  int32_t codes = 0;  // of no meaning when code_bytes is 0
  int32_t scales = 0;
  int32_t zeros = 0;   // of integers
  int32_t groups = 0;  // scales in this page
  int32_t code_bytes = 0;
  int32_t metadata_bytes = 0;
};

struct PageLayout {
  PartLayout keys;
  PartLayout values;
  int32_t page_bytes = 0;  // a multiple of 128
};

/// Bytes of a page's codes were they stored.
constexpr int32_t CodeBytes(KvElement element, int head_dim) {
  return kPageTokens * head_dim * BitsOf(element) / 8;
}

/// Place of the scale of token or channel x among those of its run: of x = 8 j + 2 q + h in 0 .. 31
/// it is 8 q + 2 j + h.
constexpr int32_t MetadataPlace(int x) {
  return x / 32 * 32 + x % 8 / 2 * 8 + x % 32 / 8 * 2 + x % 2;
}

/// Number of the group of an element in its page.
constexpr int32_t GroupOf(const KvPart& part, int head_dim, int token, int channel) {
  return part.axis == ScaleAxis::kToken ? channel / part.group * kPageTokens + MetadataPlace(token)
                                        : token / part.group * head_dim + MetadataPlace(channel);
}

constexpr PartLayout LayoutOf(const KvPart& part, int head_dim, int32_t start) {
  PartLayout layout{.codes = start};
  layout.code_bytes = part.shares_codes ? 0 : CodeBytes(part.element, head_dim);
  layout.scales = start + layout.code_bytes;
  layout.zeros = layout.scales;
  if (part.element == KvElement::kBf16) return layout;
  layout.groups = GroupOf(part, head_dim, kPageTokens - 1, head_dim - 1) + 1;
  layout.metadata_bytes = 4 * layout.groups;
  if (IsInteger(part.element)) layout.zeros = layout.scales + 2 * layout.groups;
  return layout;
}

/// REQUIRES: Fits(scheme, head_dim).
constexpr PageLayout LayoutOf(const KvScheme& scheme, int head_dim) {
  constexpr int32_t kAlignment = 128;
  PageLayout layout;
  layout.keys = LayoutOf(scheme.keys, head_dim, 0);
  const int32_t end_of_keys = layout.keys.scales + layout.keys.metadata_bytes;
  layout.values = LayoutOf(scheme.values, head_dim, end_of_keys);
  const int32_t end = layout.values.scales + layout.values.metadata_bytes;
  layout.page_bytes = (end + kAlignment - 1) / kAlignment * kAlignment;
  return layout;
}

/// The bf16 page of windows, and of the scheme that quantises nothing.
constexpr PageLayout WindowLayout(int head_dim) { return LayoutOf(KvScheme{}, head_dim); }

/// Byte of a pool at which a page of a head starts.
constexpr int64_t PageStart(const PageLayout& layout, int kv_heads, int64_t page, int head) {
  return (page * kv_heads + head) * layout.page_bytes;
}

}  // namespace moecast::kernels
