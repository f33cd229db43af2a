// What one block of latent attention holds in shared memory, and its barriers.
#pragma once

#include "kernels/ops/mla/share.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::mla {

constexpr int kConsumers = 2;                     // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * 128;  // and one that copies
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kProductRows = 64;   // of a product, of which kRows are query heads
constexpr int kBlockColumns = 64;  // of a tile in shared memory, 128 bytes: one swizzle row
constexpr int kBlocks = (kLatentChannels + kRotaryChannels) / kBlockColumns;
constexpr int kRotaryBlock = kLatentChannels / kBlockColumns;
constexpr int kHalfChannels = kLatentChannels / kConsumers;  // of the result, per warpgroup

enum NamedBarrierId { kConsumersMeet = 1 };

// A position in the ring and the parity of the current pass over it.
template <int kStages>
struct Cursor {
  int stage = 0;
  uint32_t parity = 0;

  [[nodiscard]] __device__ Cursor Next() const {
    return stage + 1 == kStages ? Cursor{0, parity ^ 1U} : Cursor{stage + 1, parity};
  }
};

// Few query heads: the cache decides the time, and the ring is deep. Many: products do, and steps
// are long, for a product of 64 columns reads its operands from shared memory as fast as it
// multiplies them; to make room, the rotary part of the query stays in registers.
template <int kRows>
struct Geometry {
  static constexpr bool kFew = kRows == 16;
  static constexpr int kTokens = kFew ? 32 : 64;  // of a step
  static constexpr int kStages = kFew ? 5 : 2;
  static constexpr int kQueryBlocks = kFew ? kBlocks : kRotaryBlock;
  static constexpr int kTileBytes = kTokens * 128;  // of a block of a stage
  static constexpr int kWeightTiles = kFew ? 1 : 2;
};

// kRows query heads, 16 or 64. Tiles are blocks of 64 columns, rows of 128 bytes in the 128-byte
// swizzle. A product reads 64 rows of the query: where there are 16, the others are whatever lies
// behind them, and what comes of them is not used.
template <int kRows>
struct alignas(1024) Shared : Geometry<kRows> {
  using Geometry<kRows>::kStages;
  using Geometry<kRows>::kWeightTiles;

  uint8_t query[Geometry<kRows>::kQueryBlocks][kRows * 128];
  uint8_t latents[kStages][kBlocks][Geometry<kRows>::kTileBytes];
  uint8_t weights[kWeightTiles][kProductRows * 128];  // of two steps
  float largest[kProductRows];                        // of each row so far
  float factor[2][kProductRows];  // of a step: what earlier results are multiplied with
  float sum[kConsumers][kProductRows];
  Step steps[kStages];
  uint64_t full[kStages];
  uint64_t empty[kStages];  // one arrival of every multiplying warp
  uint64_t query_full;
  uint64_t weights_ready[2];  // one arrival of every warp of the step's warpgroup
  uint64_t weights_free[2];   // one arrival of every multiplying warp
  int32_t units;

  // One thread.
  __device__ void Init(int copiers) {
    for (int s = 0; s < kStages; ++s) {
      ptx::BarrierInit(&full[s], static_cast<uint32_t>(copiers));
      ptx::BarrierInit(&empty[s], kConsumerWarps);
    }
    ptx::BarrierInit(&query_full, 1);
    for (int half = 0; half < 2; ++half) {
      ptx::BarrierInit(&weights_ready[half], 4);
      ptx::BarrierInit(&weights_free[half], kConsumerWarps);
    }
    ptx::BarrierInitFence();
  }
  // All threads: rows that no head fills have weight zero for good.
  __device__ void Clear() {
    for (int i = static_cast<int>(threadIdx.x); i < kWeightTiles * kProductRows * 8; i += kThreads)
      reinterpret_cast<uint4*>(weights)[i] = make_uint4(0, 0, 0, 0);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * kProductRows; i += kThreads)
      factor[i / kProductRows][i % kProductRows] = 1;
    ptx::SharedWritesFence();
  }
};

}  // namespace moecast::kernels::mla
