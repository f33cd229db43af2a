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

// Kept in registers: an instruction takes one constant only.
struct NibbleConstants {
  uint32_t one = 0x3f800000U;
  uint32_t mask[3] = {0xf00U, 0xf000U, 0xf0000U};

  __device__ NibbleConstants() {
    asm volatile("" : "+r"(one), "+r"(mask[0]), "+r"(mask[1]), "+r"(mask[2]));
  }
};

// A lane's codes of one token.
template <KvElement kElement>
struct LaneCodes {
  static constexpr int kWords = kLaneChannels * BitsOf(kElement) / 32;
  uint32_t words[kWords];
  uint32_t scale;  // float or half
  uint32_t zero;   // half, of 4 bits

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
      scale = __ldg(reinterpret_cast<const uint16_t*>(group));
      zero = __ldg(reinterpret_cast<const uint16_t*>(group + kLayout.zeros - kLayout.scales));
    }
  }

  // Eight channels of 16, two a word. Lanes of every other block begin with their second half, so
  // that eight lanes at a time store to eight different banks.
  __device__ __forceinline__ uint4 Decode(int half, const NibbleConstants& nibbles) const {
    uint32_t pairs[4];
    if constexpr (IsFp8(kElement)) {
      const float s = __uint_as_float(scale);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto pair =
            static_cast<__nv_fp8x2_storage_t>(words[half * 2 + i / 2] >> (16 * (i % 2)));
        const float2 code = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3)));
        pairs[i] = PackBf16({code.x * s, code.y * s});
      }
    } else {
      DecodeNibbles(words[half], nibbles, pairs);
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }

  // A code in bits b .. b + 3 of a float's mantissa, below a leading one, is 1 + code 2^(b - 23).
  // At bits 8, 12 and 16 enough of the 24 bits are left.
  __device__ __forceinline__ void DecodeNibbles(uint32_t word, const NibbleConstants& nibbles,
                                                uint32_t (&pairs)[4]) const {
    const float s = __half2float(__ushort_as_half(static_cast<uint16_t>(scale)));
    const float z = __half2float(__ushort_as_half(static_cast<uint16_t>(zero)));
    const float factor[3] = {s * 0x1p15F, s * 0x1p11F, s * 0x1p7F};
    const float offset[3] = {z - factor[0], z - factor[1], z - factor[2]};
    const auto value = [&](uint32_t bits, int place) {
      return fmaf(__uint_as_float((bits & nibbles.mask[place]) | nibbles.one), factor[place],
                  offset[place]);
    };
    // Channels 2 j and 2 j + 1 lie in bits 4 j and 4 j + 16.
    const uint32_t low = word << 12;   // bits 0, 4 at 12, 16
    const uint32_t high = word >> 12;  // bits 20, 24, 28 at 8, 12, 16
    pairs[0] = PackBf16({value(low, 1), value(word, 2)});
    pairs[1] = PackBf16({value(low, 2), value(high, 0)});
    pairs[2] = PackBf16({value(word, 0), value(high, 1)});
    pairs[3] = PackBf16({value(word, 1), value(high, 2)});
  }

  // Exchanges the lane's two chunks.
  __device__ __forceinline__ void SwapHalves(bool swap) {
#pragma unroll
    for (int i = 0; i < kWords / 2; ++i) {
      const uint32_t first = words[i];
      const uint32_t second = words[kWords / 2 + i];
      words[i] = swap ? +second : +first;
      words[kWords / 2 + i] = swap ? +first : +second;
    }
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
  static constexpr int kTogether = kPlaces / 2;  // places that are read at once
  LaneCodes<kElement> codes[kPlaces];

  __device__ __forceinline__ void Read(const LaneSource<kElement>& source, int first) {
#pragma unroll
    for (int place = first; place < first + kTogether; ++place)
      codes[place].Read(source, place * 2);
  }

  // Stores all to half of a stage; places are filled anew as soon as they are empty.
  __device__ __forceinline__ void StoreAndRead(uint32_t half_stage,
                                               const LaneSource<kElement>& source) {
    const NibbleConstants nibbles;
    const uint32_t lane = threadIdx.x % 16;
    const uint32_t odd = threadIdx.x % 32 / 16;
    const uint32_t swap = lane / 4 % 2;
    const uint32_t row =
        half_stage + lane / 4 * kBlockBytes + (threadIdx.x / 32 * kWarpTokens + odd) * 128;
    const uint32_t chunk = ((lane % 4 * 2 + swap) ^ odd) << 4;
#pragma unroll
    for (int first = 0; first < kPlaces; first += kTogether) {
#pragma unroll
      for (int place = first; place < first + kTogether; ++place) {
        // Row 2 place + odd of the swizzle: its number's bits are exchanged into the chunk's.
        const uint32_t to = row + place * 256 + (chunk ^ (place % 4 * 32));
        codes[place].SwapHalves(swap != 0);
        ptx::StoreShared(to, codes[place].Decode(0, nibbles));
        ptx::StoreShared(to ^ 16U, codes[place].Decode(1, nibbles));
      }
      Read(source, first);
    }
  }
};

}  // namespace moecast::kernels::mla
