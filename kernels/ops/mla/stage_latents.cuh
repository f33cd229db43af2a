// From 8-bit or 4-bit latents to f16 tiles in shared memory: four warps take 16 tokens of a page
// each, half of the channels at a time; a lane turns 16 channels of a token.
#pragma once

#include <cuda_fp16.h>

#include "kernels/ops/expert_gemm/fragment.cuh"
#include "kernels/ops/mla/pipeline.cuh"

namespace moecast::kernels::mla {

constexpr int kWarpTokens = kPageTokens / 4;
constexpr int kLaneChannels = kHalfChannels / 16;

// The calling lane's first token in a page. A warp takes two at a time; lanes of every other block
// of columns take the other one, so that eight lanes at a time store to eight different banks.
__device__ __forceinline__ int LaneToken() {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 32 * kWarpTokens + (thread / 16 ^ thread / 4) % 2;
}

// Where a lane's codes and scales of its first token in a page are; half of the channels.
template <KvElement kElement>
struct LaneSource {
  static constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  static constexpr int kScaleBytes = IsFp8(kElement) ? 4 : 2;
  const uint8_t* codes;
  const uint8_t* scales;

  __device__ LaneSource(const uint8_t* page, int half) {
    const int token = LaneToken();
    const int channel = half * kHalfChannels + static_cast<int>(threadIdx.x) % 16 * kLaneChannels;
    codes = page + token * kLayout.row_bytes + channel * BitsOf(kElement) / 8;
    scales = page + kLayout.scales + (channel / kLatentGroup * kPageTokens + token) * kScaleBytes;
  }
};

__device__ __forceinline__ __half2 AsHalves(uint32_t bits) {
  return *reinterpret_cast<const __half2*>(&bits);
}
__device__ __forceinline__ uint32_t AsBits(__half2 halves) {
  return *reinterpret_cast<const uint32_t*>(&halves);
}
__device__ __forceinline__ __half2 Twice(uint32_t half) {
  return __half2half2(__ushort_as_half(static_cast<uint16_t>(half)));
}

// (bits & mask) | set as one instruction, which the compiler makes two of.
__device__ __forceinline__ uint32_t MaskAndSet(uint32_t bits, uint32_t mask, uint32_t set) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(bits), "r"(mask), "r"(set));
  return result;
}

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

  // Eight channels of 16, two a word.
  __device__ __forceinline__ uint4 Decode(int half) const {
    uint32_t pairs[4];
    if constexpr (IsFp8(kElement)) {
      const __half2 s = __float2half2_rn(__uint_as_float(scale));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint2 halves = HalvesOfE4m3(words[half * 2 + i]);
        pairs[2 * i] = AsBits(__hmul2(AsHalves(halves.x), s));
        pairs[2 * i + 1] = AsBits(__hmul2(AsHalves(halves.y), s));
      }
    } else {
      DecodeNibbles(words[half], pairs);
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }

  // Channels 2 j and 2 j + 1 lie in bits 4 j and 4 j + 16. As the last or last but one four bits
  // of 1024 in f16 they stand for 1024 + code and 1024 + 16 code, both exact.
  __device__ __forceinline__ void DecodeNibbles(uint32_t word, uint32_t (&pairs)[4]) const {
    constexpr uint32_t k1024 = 0x64006400U;
    const __half2 s = Twice(scale);
    const __half2 z = Twice(zero);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t low = j < 2 ? word : word >> 8;
      if (j % 2 == 0) {
        const __half2 code =
            __hsub2(AsHalves(MaskAndSet(low, 0x000f000fU, k1024)), AsHalves(k1024));
        pairs[j] = AsBits(__hfma2(code, s, z));
      } else {
        const __half2 code =
            __hfma2(AsHalves(MaskAndSet(low, 0x00f000f0U, k1024)), AsHalves(0x2c002c00U),
                    AsHalves(0xd400d400U));  // 1 / 16, -64
        pairs[j] = AsBits(__hfma2(code, s, z));
      }
    }
  }
};

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
    const uint32_t lane = threadIdx.x % 16;
    const auto token = static_cast<uint32_t>(LaneToken());
    const uint32_t row = half_stage + lane / 4 * kBlockBytes + token * 128;
    uint32_t chunk = (lane % 4 * 2 ^ token % 2) << 4;
    asm volatile("" : "+r"(chunk));  // addresses are cheaper to compute than to keep
#pragma unroll
    for (int first = 0; first < kPlaces; first += kTogether) {
#pragma unroll
      for (int place = first; place < first + kTogether; ++place) {
        // In the swizzle, bits of a row's number are exchanged into its chunks'.
        const uint32_t to = row + place * 256 + (chunk ^ (place % 4 * 32));
        ptx::StoreShared(to, codes[place].Decode(0));
        ptx::StoreShared(to ^ 16U, codes[place].Decode(1));
      }
      Read(source, first);
    }
  }
};

}  // namespace moecast::kernels::mla
