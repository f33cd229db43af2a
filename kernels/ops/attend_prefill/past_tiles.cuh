// The past as bf16: tiles of 128 tokens of one KV head, keys then values, each in blocks of 64
// columns, rows of 128 bytes in the 128-byte swizzle; tile by tile, of each tile head by head. A
// sequence begins with a tile of its own; rows behind its last token are zero in values.
#pragma once

#include <cstdint>

#include "kernels/ops/attend_prefill/attend_prefill.h"

namespace moecast::kernels::attend {

constexpr int kKeyRows = kPastTileTokens;  // of a tile
constexpr int kBlockColumns = 64;          // of a block, 128 bytes: one swizzle row
constexpr int kBlockBytes = kKeyRows * kBlockColumns * 2;

constexpr int TilesOfPast(int tokens) { return (tokens + kKeyRows - 1) / kKeyRows; }

/// Bytes of keys and values of one head in one tile.
constexpr int64_t PastTileBytes(int key_dim, int value_dim) {
  return int64_t{key_dim + value_dim} / kBlockColumns * kBlockBytes;
}

/// Expands what the chunk's queries see of the past to past.expanded. One launch; reads every code
/// once. REQUIRES: key_dim 64 or 128. ERRORS: CudaError, when there is no memory for it.
void ExpandPast(const AttendPrefillShape& shape, const AttendPast& past, cudaStream_t stream);

}  // namespace moecast::kernels::attend
