// The rotation of few heads, where latency counts: a warp multiplies 16 heads at a time with 32
// columns of the matrix, which it keeps in registers; the warps of a tile have all columns between
// them, and meet before they overwrite its heads. Operands are permuted as in rotate.cu, which
// alone includes this.
#pragma once

#include <algorithm>

#include "kernels/ops/kv/rotate.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::few_heads {

inline constexpr int kThreads = 128;
inline constexpr int kMostBlocks = 132 * 4;
inline constexpr int kTileHeads = 16;
inline constexpr int kChunk = 32;  // channels that a row of four lanes holds in one load each

template <int kHeadDim>
struct Tiling {
  static constexpr int kChunks = kHeadDim / kChunk;       // of a head, and warps of a tile
  static constexpr int kTiles = kThreads / 32 / kChunks;  // of a block
};

// A warp's columns as operands: tiles of 8 columns, chunks of what is summed over.
template <int kHeadDim>
struct Columns {
  uint4 r[4][Tiling<kHeadDim>::kChunks];
};

template <int kHeadDim>
__device__ __forceinline__ Columns<kHeadDim> LoadColumns(const __nv_bfloat16* columns, int chunk) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  Columns<kHeadDim> c;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int column = chunk * kChunk + lane / 8 * 8 + n * 2 + lane / 4 % 2;
#pragma unroll
    for (int k = 0; k < Tiling<kHeadDim>::kChunks; ++k)
      c.r[n][k] = ptx::LoadCached(columns + column * kHeadDim + k * kChunk + lane % 4 * 8);
  }
  return c;
}

/// Two results as the bf16 of a word.
__device__ __forceinline__ uint32_t Rounded(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// A lane's rows g and g + 8 of a tile; null past the last head.
template <int kHeadDim>
__device__ __forceinline__ void HeadsOfLane(const RotateArgs& args, int tile,
                                            __nv_bfloat16* (&heads)[2]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = tile * kTileHeads + lane / 4 + 8 * r;
    heads[r] = i < args.rows * args.heads
                   ? args.heads_data + i / args.heads * args.stride + i % args.heads * kHeadDim
                   : nullptr;
  }
}

// The lane's sums of 32 output columns; n tile, C registers.
template <int kHeadDim>
__device__ __forceinline__ void Multiply(__nv_bfloat16* const (&heads)[2],
                                         const Columns<kHeadDim>& columns, float (&sums)[4][4]) {
  constexpr int kChunks = Tiling<kHeadDim>::kChunks;
  const int offset = static_cast<int>(threadIdx.x % 4) * 8;
  uint4 x[2][kChunks];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int k = 0; k < kChunks; ++k)
      x[r][k] = heads[r] != nullptr ? ptx::Load(heads[r] + k * kChunk + offset) : uint4{};
  }
#pragma unroll
  for (int k = 0; k < kChunks; ++k) {
    const uint4& low = x[0][k];
    const uint4& high = x[1][k];
#pragma unroll
    for (int n = 0; n < 4; ++n)
      ptx::MmaBf16(sums[n], make_uint4(low.x, high.x, low.y, high.y), columns.r[n][k].x,
                   columns.r[n][k].y);
#pragma unroll
    for (int n = 0; n < 4; ++n)
      ptx::MmaBf16(sums[n], make_uint4(low.z, high.z, low.w, high.w), columns.r[n][k].z,
                   columns.r[n][k].w);
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 4) RotateKernel(RotateArgs args) {
  using T = Tiling<kHeadDim>;
  ptx::GridDependencyLaunch();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int chunk = warp % T::kChunks;
  const Columns<kHeadDim> columns = LoadColumns<kHeadDim>(args.columns, chunk);  // nobody's output
  const int first = static_cast<int>(blockIdx.x) * T::kTiles;
  const int tiles = (args.rows * args.heads + kTileHeads - 1) / kTileHeads;
  ptx::GridDependencyWait();
  for (int base = first; base < tiles; base += static_cast<int>(gridDim.x) * T::kTiles) {
    __nv_bfloat16* heads[2];
    HeadsOfLane<kHeadDim>(args, base + warp / T::kChunks, heads);
    float sums[4][4] = {};
    Multiply<kHeadDim>(heads, columns, sums);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (heads[r] == nullptr) continue;
      uint32_t words[4];
#pragma unroll
      for (int n = 0; n < 4; ++n)
        words[n] = Rounded(sums[n][2 * r] * args.factor, sums[n][2 * r + 1] * args.factor);
      *reinterpret_cast<uint4*>(heads[r] + chunk * kChunk + threadIdx.x % 4 * 8) =
          make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

template <int kHeadDim>
void Launch(const RotateArgs& args, cudaStream_t stream) {
  constexpr int kHeads = kTileHeads * Tiling<kHeadDim>::kTiles;  // of a block
  const int blocks = (args.rows * args.heads + kHeads - 1) / kHeads;
  kernels::Launch(RotateKernel<kHeadDim>,
                  {.blocks = std::min(blocks, kMostBlocks), .threads = kThreads}, stream, args);
}

}  // namespace moecast::kernels::few_heads
