// The ring by which latents reach the products, and its barriers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/ops/mla/share.cuh"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/ptx_wgmma_half.cuh"

namespace moecast::kernels::mla {

constexpr int kConsumers = 2;                     // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * 128;  // and one that copies
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kStages = 2;
constexpr int kBlockColumns = 64;  // of a tile in shared memory, 128 bytes: one swizzle row
constexpr int kBlockBytes = kPageTokens * kBlockColumns * 2;
constexpr int kRotaryBlock = kLatentChannels / kBlockColumns;
constexpr int kBlocks = kRotaryBlock + kRotaryChannels / kBlockColumns;
constexpr int kHalves = 2;  // of a stage: channels 0 .. 255 and rotary ones, channels 256 .. 511
constexpr int kHalfBlocks = kRotaryBlock / kHalves;
constexpr int kHalfChannels = kLatentChannels / kHalves;
constexpr int kPartsKept = 8;  // more than steps are between a copier and the last consumer

enum NamedBarrierId { kConsumersMeet = 1, kGroupMeets = 2 };

using ptx::Half;

// Two numbers in one register.
template <Half kHalf>
__device__ __forceinline__ uint32_t Pack(float low, float high) {
  if constexpr (kHalf == Half::kBf16) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

// 16-byte chunk of a row in its block of 64 columns.
__device__ __forceinline__ uint8_t* ChunkAt(uint8_t* block, int row, int chunk) {
  return block + row * 128 + ((chunk ^ (row % 8)) << 4);
}

// A warpgroup or both of those that multiply.
__device__ __forceinline__ void MeetAll() {
  ptx::NamedBarrierSync(kConsumersMeet, kConsumers * 128);
}
__device__ __forceinline__ void MeetGroup(int group) {
  ptx::NamedBarrierSync(kGroupMeets + group, 128);
}
// The calling warp's arrival, when all of its lanes are done.
__device__ __forceinline__ void ArriveWarp(uint64_t* barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) ptx::BarrierArrive(barrier);
}

// Steps of 64 tokens in turn. Tiles are blocks of 64 columns, rows of 128 bytes in the 128-byte
// swizzle. Each half of a stage comes and goes by itself.
struct Ring {
  uint8_t tiles[kStages][kBlocks][kBlockBytes];
  Part parts[kPartsKept];  // number `part % kPartsKept` is there before its first step is full
  uint64_t full[kStages][kHalves];
  uint64_t empty[kStages][kHalves];  // one arrival of every warp of one multiplying warpgroup

  // One thread. The first half's rotary part arrives by itself beside warps that turn codes.
  __device__ void Init(bool codes) {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::BarrierInit(&full[stage][0], codes ? 5 : 1);
      ptx::BarrierInit(&full[stage][1], codes ? 4 : 1);
      ptx::BarrierInit(&empty[stage][0], 4);
      ptx::BarrierInit(&empty[stage][1], 4);
    }
  }
  // Of step number `step` of this block.
  __device__ void WaitFull(int step, int half) {
    ptx::BarrierWait(&full[step % kStages][half], step / kStages % 2);
  }
  __device__ void WaitEmpty(int step, int half) {
    ptx::BarrierWait(&empty[step % kStages][half], step / kStages % 2 ^ 1U);
  }
  __device__ void Release(int step, int half) { ArriveWarp(&empty[step % kStages][half]); }
};

}  // namespace moecast::kernels::mla
