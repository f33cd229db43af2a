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
  constexpr int kStep = kTileThreads / kVectors;  // rows that the block copies at once
  const int vector = static_cast<int>(threadIdx.x) % kVectors;
  const int first = static_cast<int>(threadIdx.x) / kVectors;
  const __nv_bfloat16* source = from + first * stride + vector * 8;
  uint32_t to = ptx::SharedAddress(rows) +
                static_cast<uint32_t>((token + first) * TileRowBytes(kHeadDim) + vector * 16);
  if (count == kPageTokens) {
#pragma unroll
    for (int i = 0; i < kPageTokens / kStep; ++i)
      ptx::CopyAsync16(to + i * kStep * TileRowBytes(kHeadDim), source + i * kStep * stride);
    return;
  }
#pragma unroll 1
  for (int row = first; row < count; row += kStep) {
    ptx::CopyAsync16(to, source);
    to += kStep * TileRowBytes(kHeadDim);
    source += kStep * stride;
  }
}
__device__ __forceinline__ void CompleteRows() {
  ptx::CopyAsyncWait();
  __syncthreads();
}

/// The 64 tokens of the bf16 page part at `codes` to the rows that begin at `rows`: the page's
/// fragments are what LoadMatrices makes of rows, so storing them as matrices gives the rows back.
/// A barrier must follow.
template <KvSide kSide, int kHeadDim>
__device__ __forceinline__ void UnpackRows(uint8_t* rows, const uint8_t* codes) {
  constexpr int kAcross = kHeadDim / kTile;
  constexpr int kWarps = kTileThreads / 32;
  constexpr int kOfWarp = kPageTokens / kTile * kAcross / kWarps;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  constexpr int kAtOnce = 4;  // fragments in flight
  const uint32_t start = RowOfLane<kSide>(rows, TileRowBytes(kHeadDim));
#pragma unroll
  for (int first = 0; first < kOfWarp; first += kAtOnce) {
    uint4 fragments[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      fragments[i] = ptx::Load(codes + (warp + (first + i) * kWarps) * kUnitBytes + lane * 16);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int unit = warp + (first + i) * kWarps;
      ptx::StoreMatrices<kSide == KvSide::kValues>(
          start + static_cast<uint32_t>(unit / kAcross * kTile * TileRowBytes(kHeadDim) +
                                        unit % kAcross * kTile * 2),
          fragments[i]);
    }
  }
}

}  // namespace moecast::kernels
