// One token's row of one head as an append stores it. A row is made of pieces, each what one store
// takes: of keys a 32-bit word, whose pairs are channels of this token alone; of values below 16
// bits two words next to each other, in which every second code is the other token's of a pair
// 2 n, 2 n + 1; of bf16 values, which are two bytes of the token alone, one. A lane has whole
// pieces, so codes are put together in registers.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/page_layout.h"

namespace moecast::kernels {

/// Pieces of rows of `kHeadDim` channels in `kElement`, and the warp that has them.
template <KvSide kSide, KvElement kElement, int kHeadDim>
struct RowPieces {
  static constexpr bool kKeys = kSide == KvSide::kKeys;
  static constexpr int kBits = BitsOf(kElement);
  static constexpr bool kSingle = !kKeys && kBits == 16;   // one code
  static constexpr bool kPaired = !kKeys && kBits < 16;    // shares its words with another token
  static constexpr int kTiles = UnitChannelTiles(kBits);   // that a piece has codes of
  static constexpr int kCodes = kSingle ? 1 : 2 * kTiles;  // of a piece
  static constexpr int kOfRow = kHeadDim / kCodes;
  // Keys: column / 8, then column % 8 / 2. Values: row % 8, and of singles then row / 8, so that
  // lanes next to each other store next to each other.
  static constexpr int kOfUnit = kSingle ? 16 : 8;
  static constexpr int kRows = kOfRow < 32 ? 32 / kOfRow : 1;    // of a warp
  static constexpr int kRounds = kOfRow > 32 ? kOfRow / 32 : 1;  // pieces of a lane, 32 apart
  // From a lane's piece to its next, in channels and in bytes of codes.
  static constexpr int kRoundChannels = 32 / kOfUnit * kTiles * kTile;
  static constexpr int kRoundBytes = 32 / kOfUnit * kUnitBytes;

  /// First channel of a piece; code 2 j + h is Offset(2 j + h) channels on, where h is the column
  /// of a pair of keys, or the half of the rows of values.
  static constexpr int Channel(int piece) {
    const int in_unit = piece % kOfUnit;
    const int in_tile = kSingle ? in_unit % 2 * 8 + in_unit / 2 : in_unit * (kKeys ? 2 : 1);
    return piece / kOfUnit * kTiles * kTile + in_tile;
  }
  static constexpr int Offset(int code) { return code / 2 * kTile + code % 2 * (kKeys ? 1 : 8); }
  /// Byte of a piece among the codes of a page. REQUIRES: 0 <= token < 64.
  static constexpr int Byte(int piece, int token) {
    const int unit = token / kTile * (kHeadDim / kTile / kTiles) + piece / kOfUnit;
    const int in_unit = piece % kOfUnit;
    const int row = kSingle ? in_unit / 2 : in_unit;  // of values
    const int lane = kKeys ? token % 8 * 4 + in_unit % 4 : row * 4 + token % 8 / 2;
    const int word = kKeys ? token % kTile / 8 + in_unit / 4 * 2
                           : token % kTile / 8 * 2 + (kSingle ? in_unit % 2 : 0);
    return unit * kUnitBytes + lane * 16 + word * 4 + (kSingle ? token % 2 * 2 : 0);
  }
  /// Lowest bit of code 2 j + h in its word, for keys and for paired values of an even token.
  static constexpr int Shift(int code) {
    const int of_pair = kBits == 16 ? 0 : kBits == 8 ? 16 * (code / 2) : kBits * (code / 2);
    return of_pair + (kKeys ? code % 2 * (kBits == 8 ? 8 : 16) : 0);
  }
  /// An odd token's bits of paired values stand this much higher.
  static constexpr int kOddShift = kBits == 8 ? 8 : 16;
  static constexpr uint32_t kEvenBits = kBits == 8 ? 0x00ff00ffU : 0x0000ffffU;
};

}  // namespace moecast::kernels
