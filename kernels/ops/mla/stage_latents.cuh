// From 8-bit or 4-bit latents to bf16 tiles in shared memory: four warps take 16 tokens of a page
// each, half of the channels at a time; a lane turns 16 channels of a token.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/ops/mla/pipeline.cuh"

namespace moecast::kernels::mla {

constexpr int kWarpTokens = kPageTokens / 4;
constexpr int kLaneChannels = kHalfChannels / 16;

__device__ __forceinline__ uint32_t PackBf16(float2 pair) {
  const __nv_bfloat162 packed = __floats2bfloat162_rn(pair.x, pair.y);
  return *reinterpret_cast<const uint32_t*>(&packed);
}

// 16-byte chunk of a row in its block of 64 columns.
__device__ __forceinline__ uint8_t* ChunkAt(uint8_t* block, int row, int chunk) {
  return block + row * 128 + ((chunk ^ (row % 8)) << 4);
}

// Where a lane's codes and scales of its warp's first token in a page are; half of the channels.
template <KvElement kElement>
struct LaneSource {
  static constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  static constexpr int kScaleBytes = IsFp8(kElement) ? 4 : 2;
  const uint8_t* codes;
  const uint8_t* scales;

  __device__ LaneSource(const uint8_t* page, int half) {
    const int token =
        static_cast<int>(threadIdx.x) / 32 * kWarpTokens + static_cast<int>(threadIdx.x) % 32 / 16;
    const int channel = half * kHalfChannels + static_cast<int>(threadIdx.x) % 16 * kLaneChannels;
    codes = page + token * kLayout.row_bytes + channel * BitsOf(kElement) / 8;
    scales = page + kLayout.scales + (channel / kLatentGroup * kPageTokens + token) * kScaleBytes;
  }
};

// A lane's codes of one token.
template <KvElement kElement>
struct LaneCodes {
  static constexpr int kWords = kLaneChannels * BitsOf(kElement) / 32;
  uint32_t words[kWords];
  uint32_t scale;  // float, or half with its zero behind it

  // Of the token that is `ahead` of the source's.
  __device__ __forceinline__ void Read(const LaneSource<kElement>& source, int ahead) {
    constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
    const uint8_t* const row = source.codes + ahead * kLayout.row_bytes;
    const uint8_t* const group = source.scales + ahead * LaneSource<kElement>::kScaleBytes;
    if constexpr (IsFp8(kElement)) {
      const uint4 read = ptx::LoadStreaming(row);
      words[0] = read.x;
      words[1] = read.y;
      words[2] = read.z;
      words[3] = read.w;
      scale = __ldg(reinterpret_cast<const uint32_t*>(group));
    } else {
      const uint2 read = __ldg(reinterpret_cast<const uint2*>(row));
      words[0] = read.x;
      words[1] = read.y;
      const uint32_t low = __ldg(reinterpret_cast<const uint16_t*>(group));
      const uint32_t high =
          __ldg(reinterpret_cast<const uint16_t*>(group + kLayout.zeros - kLayout.scales));
      scale = low | high << 16;
    }
  }

  // All 16 channels, two a word.
  __device__ __forceinline__ void Decode(uint32_t (&pairs)[kLaneChannels / 2]) const {
    if constexpr (IsFp8(kElement)) {
      const float s = __uint_as_float(scale);
#pragma unroll
      for (int i = 0; i < kLaneChannels / 2; ++i) {
        const auto pair = static_cast<__nv_fp8x2_storage_t>(words[i / 2] >> (16 * (i % 2)));
        const float2 code = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3)));
        pairs[i] = PackBf16({code.x * s, code.y * s});
      }
    } else {
      const __half2 both = *reinterpret_cast<const __half2*>(&scale);
      DecodeNibbles(__low2float(both), __high2float(both), pairs);
    }
  }

  // A code in bits b .. b + 3 of a float's mantissa, below a leading one, is 1 + code 2^(b - 23).
  // Bits 8, 12 and 16 keep the products exact enough: 2^15 steps of the code, of 2^24.
  __device__ __forceinline__ void DecodeNibbles(float s, float zero,
                                                uint32_t (&pairs)[kLaneChannels / 2]) const {
    const float factor[3] = {s * 0x1p15F, s * 0x1p11F, s * 0x1p7F};
    const float offset[3] = {zero - factor[0], zero - factor[1], zero - factor[2]};
    const auto value = [&](uint32_t word, int place) {
      const uint32_t bits = (word & (0xf00U << (4 * place))) | 0x3f800000U;
      return fmaf(__uint_as_float(bits), factor[place], offset[place]);
    };
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      // Channels 2 j and 2 j + 1 lie in bits 4 j and 4 j + 16.
      const uint32_t low = words[w] << 12;   // bits 0, 4 at 12, 16
      const uint32_t high = words[w] >> 12;  // bits 20, 24, 28 at 8, 12, 16
      pairs[w * 4] = PackBf16({value(low, 1), value(words[w], 2)});
      pairs[w * 4 + 1] = PackBf16({value(low, 2), value(high, 0)});
      pairs[w * 4 + 2] = PackBf16({value(words[w], 0), value(high, 1)});
      pairs[w * 4 + 3] = PackBf16({value(words[w], 1), value(high, 2)});
    }
  }

  // place  of the first 8 channels in shared memory
  __device__ __forceinline__ void Store(uint32_t place, bool swap) const {
    uint32_t p[kLaneChannels / 2];
    Decode(p);
    // Lanes of every other block begin with their second chunk, so that eight lanes at a time meet
    // eight different banks.
    ptx::StoreShared(place ^ (swap ? 16U : 0U), swap ? make_uint4(p[4], p[5], p[6], p[7])
                                                     : make_uint4(p[0], p[1], p[2], p[3]));
    ptx::StoreShared(place ^ (swap ? 0U : 16U), swap ? make_uint4(p[0], p[1], p[2], p[3])
                                                     : make_uint4(p[4], p[5], p[6], p[7]));
  }
};

// Moves a page to L2: every thread of four warps asks for some lines.
template <KvElement kElement>
__device__ __forceinline__ void PrefetchPage(const uint8_t* page) {
  constexpr int kLine = 128;
  constexpr int kLines = LatentLayoutOf(kElement).page_bytes / kLine;
  for (int line = static_cast<int>(threadIdx.x); line < kLines; line += 128)
    ptx::PrefetchL2(page + line * kLine);
}

// The calling warp's 16 tokens of half the channels, two tokens in each place.
template <KvElement kElement>
struct WarpCodes {
  static constexpr int kPlaces = kWarpTokens / 2;
  LaneCodes<kElement> codes[kPlaces];

  __device__ __forceinline__ void Read(const LaneSource<kElement>& source) {
#pragma unroll
    for (int place = 0; place < kPlaces; ++place) codes[place].Read(source, place * 2);
  }

  // Stores all to half of a stage; each place is filled anew as soon as it is empty.
  __device__ __forceinline__ void StoreAndRead(uint32_t half_stage,
                                               const LaneSource<kElement>& source) {
    const uint32_t lane = threadIdx.x % 16;
    const uint32_t odd = threadIdx.x % 32 / 16;
    const bool swap = lane / 4 % 2 != 0;
    const uint32_t row =
        half_stage + lane / 4 * kBlockBytes + (threadIdx.x / 32 * kWarpTokens + odd) * 128;
    const uint32_t chunk = (lane % 4 * 2 ^ odd) << 4;
#pragma unroll
    for (int place = 0; place < kPlaces; ++place) {
      // Row 2 place + odd of the swizzle: its number's bits are exchanged into the chunk's.
      codes[place].Store(row + place * 256 + (chunk ^ (place % 4 * 32)), swap);
      codes[place].Read(source, place * 2);
    }
  }
};

}  // namespace moecast::kernels::mla
