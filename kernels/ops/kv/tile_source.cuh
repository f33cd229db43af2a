// Where the rows of a page tile come from: rows of a product, or a bf16 page of the window.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/kv/page_tile.cuh"

namespace moecast::kernels {

/// Starts copying row `token` of the tile from `count` rows at `from`, `stride` elements apart, for
/// tokens token .. token + count - 1. CompleteRows must follow.
template <int kHeadDim>
__device__ void CopyRows(uint8_t* rows, int token, int count, const __nv_bfloat16* from,
                         int64_t stride) {
  constexpr int kVectors = kHeadDim / 8;
  for (int i = static_cast<int>(threadIdx.x); i < count * kVectors; i += kTileThreads)
    ptx::CopyAsync16(ptx::SharedAddress(rows + (token + i / kVectors) * TileRowBytes(kHeadDim)) +
                         i % kVectors * 16,
                     from + i / kVectors * stride + i % kVectors * 8);
}
__device__ __forceinline__ void CompleteRows() {
  ptx::CopyAsyncWait();
  __syncthreads();
}

/// Tokens token .. token + count - 1 of the tile from the same tokens, modulo 64, of the bf16 page
/// part at `codes`. A barrier must follow.
template <KvSide kSide, int kHeadDim>
__device__ void UnpackRows(uint8_t* rows, int token, int count, const uint8_t* codes) {
  constexpr int kAcross = kHeadDim / kTile;
  for (int i = static_cast<int>(threadIdx.x); i < kPageTokens / kTile * kAcross * 32;
       i += kTileThreads) {
    const int unit = i / 32;
    const int row = i % 32 / 4;
    const int column = i % 4 * 2;
    const uint4 v = ptx::Load(codes + i * 16);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int reg = 0; reg < 4; ++reg) {
      const int in_row = row + 8 * (reg % 2);
      const int in_column = column + 8 * (reg / 2);
      const int t = unit / kAcross * kTile + (kSide == KvSide::kKeys ? in_row : in_column);
      const int c = unit % kAcross * kTile + (kSide == KvSide::kKeys ? in_column : in_row);
      const int first = token % kPageTokens;
      uint8_t* const to = rows + (token - first + t) * TileRowBytes(kHeadDim) + c * 2;
      if constexpr (kSide == KvSide::kKeys) {
        if (t >= first && t < first + count) *reinterpret_cast<uint32_t*>(to) = words[reg];
      } else {
        if (t >= first && t < first + count)
          *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(words[reg] & 0xffffU);
        if (t + 1 >= first && t + 1 < first + count)
          *reinterpret_cast<uint16_t*>(to + TileRowBytes(kHeadDim)) =
              static_cast<uint16_t>(words[reg] >> 16);
      }
    }
  }
}

}  // namespace moecast::kernels
