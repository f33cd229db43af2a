// From 8-bit or 4-bit latents to bf16 tiles in shared memory: four warps take 32 tokens at a time,
// eight each; a lane turns 16 channels of a token.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/ops/mla/pipeline.cuh"

namespace moecast::kernels::mla {

constexpr int kReadTokens = 32;
constexpr int kWarpTokens = kReadTokens / 4;
constexpr int kLaneChannels = kLatentChannels / 32;

__device__ __forceinline__ uint32_t PackBf16(float2 pair) {
  const __nv_bfloat162 packed = __floats2bfloat162_rn(pair.x, pair.y);
  return *reinterpret_cast<const uint32_t*>(&packed);
}

// 16-byte chunk of a row in its block of 64 columns.
__device__ __forceinline__ uint8_t* ChunkAt(uint8_t* block, int row, int chunk) {
  return block + row * 128 + ((chunk ^ (row % 8)) << 4);
}

// A lane's codes of one token.
template <KvElement kElement>
struct LaneCodes {
  static constexpr int kWords = kLaneChannels * BitsOf(kElement) / 32;
  uint32_t words[kWords];
  float scale;
  float zero;

  __device__ __forceinline__ void Read(const uint8_t* page, int token) {
    constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const uint8_t* const row = page + token * kLayout.row_bytes + lane * kWords * 4;
    if constexpr (kWords == 4) {
      const uint4 read = ptx::LoadStreaming(row);
      words[0] = read.x;
      words[1] = read.y;
      words[2] = read.z;
      words[3] = read.w;
    } else {
      const uint2 read = __ldg(reinterpret_cast<const uint2*>(row));
      words[0] = read.x;
      words[1] = read.y;
    }
    const int group = lane * kLaneChannels / kLatentGroup * kPageTokens + token;
    if constexpr (IsFp8(kElement)) {
      scale = __ldg(reinterpret_cast<const float*>(page + kLayout.scales) + group);
      zero = 0;
    } else {
      scale = __half2float(__ldg(reinterpret_cast<const __half*>(page + kLayout.scales) + group));
      zero = __half2float(__ldg(reinterpret_cast<const __half*>(page + kLayout.zeros) + group));
    }
  }

  // Channels 2 i and 2 i + 1 of the lane's 16.
  [[nodiscard]] __device__ __forceinline__ uint32_t Pair(int i) const {
    float2 code;
    if constexpr (IsFp8(kElement)) {
      const auto pair = static_cast<__nv_fp8x2_storage_t>(words[i / 2] >> (16 * (i % 2)));
      code = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3)));
    } else {
      // A code in the low bits of float 2^23 is 2^23 + code, exactly.
      constexpr uint32_t kMask = 0xf;
      constexpr uint32_t kBias = 0x4b000000;
      const uint32_t word = words[i / 4] >> (4 * (i % 4));
      code = {__uint_as_float((word & kMask) | kBias) - 0x1p23F,
              __uint_as_float((word >> 16 & kMask) | kBias) - 0x1p23F};
    }
    return PackBf16({fmaf(code.x, scale, zero), fmaf(code.y, scale, zero)});
  }

  template <int kTileBytes>
  __device__ __forceinline__ void Store(uint8_t (&tile)[kBlocks][kTileBytes], int row) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const uint4 first = make_uint4(Pair(0), Pair(1), Pair(2), Pair(3));
    const uint4 second = make_uint4(Pair(4), Pair(5), Pair(6), Pair(7));
    // Lanes of every other block begin with their second chunk, so that eight lanes at a time meet
    // eight different banks.
    const int swap = lane / 4 % 2;
    uint8_t* const block = tile[lane / 4];
    const int chunk = lane % 4 * 2;
    *reinterpret_cast<uint4*>(ChunkAt(block, row, chunk + swap)) = swap ? second : first;
    *reinterpret_cast<uint4*>(ChunkAt(block, row, chunk + 1 - swap)) = swap ? first : second;
  }
};

// Moves the lines of kTokens tokens of a page, from `token` on, to L2: every thread of four warps
// asks for some.
template <KvElement kElement, int kTokens>
__device__ __forceinline__ void PrefetchTokens(const uint8_t* page, int token) {
  constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  constexpr int kLine = 128;
  constexpr int kCodeLines = kTokens * kLayout.row_bytes / kLine;
  constexpr int kLines = kCodeLines + kTokens * kRotaryChannels * 2 / kLine;
  const uint8_t* const codes = page + token * kLayout.row_bytes;
  const uint8_t* const rotary = page + kLayout.rotary + token * kRotaryChannels * 2;
  for (int line = static_cast<int>(threadIdx.x); line < kLines; line += 128)
    ptx::PrefetchL2(line < kCodeLines ? codes + line * kLine
                                      : rotary + (line - kCodeLines) * kLine);
}

// kReadTokens tokens between global and shared memory.
template <KvElement kElement>
struct ReadTokens {
  static constexpr int kRotaryReads = kWarpTokens / 4;  // a warp reads four tokens at a time

  LaneCodes<kElement> codes[kWarpTokens];
  uint4 rotary[kRotaryReads];

  __device__ __forceinline__ void Read(const uint8_t* page, int first) {
    constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int token = first + WarpToken();
#pragma unroll
    for (int t = 0; t < kWarpTokens; ++t) codes[t].Read(page, token + t);
#pragma unroll
    for (int i = 0; i < kRotaryReads; ++i)
      rotary[i] = ptx::LoadStreaming(page + kLayout.rotary + (token + i * 4 + lane / 8) * 128 +
                                     lane % 8 * 16);
  }

  // To rows `first` and on of the tile.
  template <int kTileBytes>
  __device__ __forceinline__ void Store(uint8_t (&tile)[kBlocks][kTileBytes], int first) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int row = first + WarpToken();
#pragma unroll
    for (int t = 0; t < kWarpTokens; ++t) codes[t].Store(tile, row + t);
#pragma unroll
    for (int i = 0; i < kRotaryReads; ++i)
      *reinterpret_cast<uint4*>(ChunkAt(tile[kRotaryBlock], row + i * 4 + lane / 8, lane % 8)) =
          rotary[i];
  }

 private:
  __device__ static int WarpToken() { return static_cast<int>(threadIdx.x) / 32 * kWarpTokens; }
};

}  // namespace moecast::kernels::mla
