// What the kernel of decode attention is launched with.
#pragma once

#include "kernels/ops/attend/attend.h"
#include "kernels/ops/attend/split_plan.h"

namespace moecast::kernels {

/// Warps of a block, at most: as many as the registers of a multiprocessor hold.
constexpr int MostWarps(int head_tiles) { return head_tiles == 1 ? 12 : 8; }
inline constexpr int kMostWarps = MostWarps(1);
/// Units a warp has requested ahead, at most.
inline constexpr int kMostSlots = 8;

/// The part of a block's shared memory whose size is fixed; it lies at the start.
struct BlockShared {
  uint64_t full[kMostWarps][kMostSlots];
  // Segments of a warp's partial results: of one it did not begin, and of one it did not end.
  int32_t begun_before[kMostWarps];
  int32_t ends_later[kMostWarps];
  bool early[kMostWarps];  // the first of them was left while the warp's ring was in use
};

/// How a block's shared memory is used; bytes.
struct BlockLayout {
  int warps = 0;
  int slots = 0;  // of a warp's ring
  int32_t slot_bytes = 0;
  int32_t rings = 0;  // offset of the rings
  int32_t bytes = 0;
};

/// Of a partial result of `tiles` x 8 query heads.
constexpr int32_t PartialBytes(int head_tiles, int head_dim) {
  return 8 * head_tiles * (head_dim + 2) * static_cast<int32_t>(sizeof(float));
}
/// Of the results that blocks post, at the start of a workspace: the same for every shape, so that
/// what one launch leaves at zero is zero for the next.
constexpr int32_t PostedBytes(int blocks) { return blocks * PartialBytes(2, 128); }

/// Powers of two that codes lie off, by channel tile modulo 4.
struct CodeUnits {
  float query[4];      // of a query that meets stored keys: softmax scale / log 2, shift undone
  float key_shift[4];  // what that undid
  float sum[4];        // of the sums of stored values
  float code[4];       // 1 / sum
};

/// An instance of the kernel knows integer codes of at most so many bits, or, at kAllBits, every
/// element: what a launch does not need would lie between what it does, and warps wait for
/// instructions.
inline constexpr int kAllBits = 16;

/// Of the instance that knows the fewest elements beside those of `scheme`: 2, 4 or kAllBits.
constexpr int MostBits(const KvScheme& scheme) {
  if (!IsInteger(scheme.keys.element) || !IsInteger(scheme.values.element)) return kAllBits;
  const int bits = Most(BitsOf(scheme.keys.element), BitsOf(scheme.values.element));
  return bits <= 2 ? 2 : bits <= 4 ? 4 : kAllBits;
}

struct KernelArgs {
  AttendArgs call;
  PageLayout layout;  // of the cache's pages
  PageLayout staged;  // of a page in shared memory: with all its codes
  BlockLayout block;
  CodeUnits units;
  SegmentBlocks blocks;
  int card_blocks = 0;  // multiprocessors, whatever number of them takes part
};

}  // namespace moecast::kernels
