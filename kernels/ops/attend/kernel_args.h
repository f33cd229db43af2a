// What the kernel of decode attention is launched with.
#pragma once

#include "kernels/ops/attend/attend.h"

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
  bool last;
};

/// How a block's shared memory is used; bytes.
struct BlockLayout {
  int warps = 0;
  int slots = 0;  // of a warp's ring
  int32_t slot_bytes = 0;
  int32_t rings = 0;  // offset of the rings
  int32_t bytes = 0;
};

/// Of the arrival counts at the start of a workspace for `blocks` blocks.
constexpr int32_t ArrivalBytes(int blocks) {
  constexpr int32_t kAlignment = 128;
  const auto bytes = static_cast<int32_t>(sizeof(uint32_t)) * blocks;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct KernelArgs {
  AttendArgs call;
  PageLayout layout;  // of the cache's pages
  PageLayout staged;  // of a page in shared memory: with all its codes
  BlockLayout block;
  int card_blocks = 0;  // multiprocessors, whatever number of them takes part
};

}  // namespace moecast::kernels
