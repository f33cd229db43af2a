// What one block of prefill attention holds: the query tile, rings of key and value tiles, and the
// barriers between the warps that fill them and the two warpgroups that multiply.
#pragma once

#include "kernels/ops/attend_prefill/schedule.cuh"
#include "kernels/ops/expert_prefill/epilogue.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::attend {

constexpr int kConsumers = 2;                     // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * 128;  // and one that copies
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kStages = 2;
static_assert(kQueryRows == kKeyRows);

enum NamedBarrierId { kTurn = 1 };

// A position in a ring and the parity of the current pass over it.
struct Cursor {
  int stage = 0;
  uint32_t parity = 0;

  __device__ void Advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1U;
    }
  }
};

// Barriers of the stages of one ring.
struct Ring {
  uint64_t full[kStages];
  uint64_t empty[kStages];  // one arrival of every multiplying warp

  __device__ void Init() {
    for (int s = 0; s < kStages; ++s) {
      ptx::BarrierInit(&full[s], 1);
      ptx::BarrierInit(&empty[s], kConsumerWarps);
    }
  }
  // For the copier: the stage is free.
  __device__ void Claim(const Cursor& cursor) {
    ptx::BarrierWait(&empty[cursor.stage], cursor.parity ^ 1U);
  }
  __device__ void Wait(const Cursor& cursor) {
    ptx::BarrierWait(&full[cursor.stage], cursor.parity);
  }
  // A warp gives its stage back; all of its lanes are done with it.
  __device__ void Release(const Cursor& cursor) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::BarrierArrive(&empty[cursor.stage]);
  }
};

// Tiles are blocks of 64 columns, each [128 rows][128 bytes] in the 128-byte swizzle.
template <int kKeyDim, int kValueDim>
struct alignas(1024) Shared {
  uint8_t query[kKeyDim / kBlockColumns][kBlockBytes];
  uint8_t key[kStages][kKeyDim / kBlockColumns][kBlockBytes];
  uint8_t value[kStages][kValueDim / kBlockColumns][kBlockBytes];
  uint8_t staging[kConsumerWarps][prefill::kStagingBytes];
  Ring keys;
  Ring values;
  uint64_t query_full;
  uint64_t query_empty;  // one arrival of every multiplying warp
  Unit unit;             // of the query tile

  __device__ void Init() {
    keys.Init();
    values.Init();
    ptx::BarrierInit(&query_full, 1);
    ptx::BarrierInit(&query_empty, kConsumerWarps);
    ptx::BarrierInitFence();
  }
};

}  // namespace moecast::kernels::attend
