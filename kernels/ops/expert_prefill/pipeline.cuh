// The ring of shared-memory stages between the one thread that copies and the two warpgroups that
// multiply. The first stage of a unit carries the unit.
#pragma once

#include "kernels/ops/expert_prefill/schedule.cuh"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels::prefill {

constexpr int kConsumers = 2;                     // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * 128;  // and one that copies
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kCopyRegisters = 40;  // per thread, of 65536 in all
constexpr int kConsumerRegisters = 232;
constexpr int kStageRowBytes = 128;  // of K, one swizzle row
constexpr int kTokenTileBytes = kPrefillTileRows * kStageRowBytes;

// A position in the ring and the parity of the current pass over it.
template <int kStages>
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

template <int kStages>
struct Ring {
  uint64_t full[kStages];   // one arrival, with the bytes of the stage
  uint64_t empty[kStages];  // one arrival of every multiplying warp
  Unit unit[kStages];       // of the stage, where it is a unit's first

  __device__ void Init() {
    for (int s = 0; s < kStages; ++s) {
      ptx::BarrierInit(&full[s], 1);
      ptx::BarrierInit(&empty[s], kConsumerWarps);
    }
    ptx::BarrierInitFence();
  }

  // For the copy thread: the stage is free, and `bytes` are announced.
  __device__ uint64_t* Claim(const Cursor<kStages>& cursor, const Unit& next, bool first,
                             uint32_t bytes) {
    ptx::BarrierWait(&empty[cursor.stage], cursor.parity ^ 1U);
    if (first) unit[cursor.stage] = next;
    ptx::BarrierArriveExpect(&full[cursor.stage], bytes);
    return &full[cursor.stage];
  }
  __device__ void Wait(const Cursor<kStages>& cursor) {
    ptx::BarrierWait(&full[cursor.stage], cursor.parity);
  }
  // A warp gives its stage back; all of its lanes are done with it.
  __device__ void Release(const Cursor<kStages>& cursor) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::BarrierArrive(&empty[cursor.stage]);
  }
};

// Runs a block: one warpgroup copies, the others multiply.
//   copy(unit, cursor)      by one thread: all stages of the unit
//   consume(unit, cursor)   by every thread of the others: the same stages, from the first on
template <int kStages, class Copy, class Consume>
__device__ void RunUnits(Ring<kStages>& ring, int32_t* units_before, const ExpertSlots& slots,
                         int weight_tiles, Copy copy, Consume consume) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp == 0) CountUnits(slots, weight_tiles, units_before);
  if (threadIdx.x == 32) ring.Init();
  __syncthreads();
  Cursor<kStages> cursor;
  if (warp < 4) {
    ptx::ReleaseRegisters<kCopyRegisters>();
    if (threadIdx.x == 0) {
      const int active = *slots.active_count;
      for (int index = static_cast<int>(blockIdx.x);; index += static_cast<int>(gridDim.x)) {
        const Unit unit = FindUnit(slots, weight_tiles, units_before, active, index);
        if (unit.weight_tile == kNoMore) {
          ring.Claim(cursor, unit, true, 0);
          break;
        }
        copy(unit, cursor);
      }
    }
  } else {
    ptx::ClaimRegisters<kConsumerRegisters>();
    while (true) {
      ring.Wait(cursor);
      const Unit unit = ring.unit[cursor.stage];
      if (unit.weight_tile == kNoMore) break;
      consume(unit, cursor);
    }
  }
}

}  // namespace moecast::kernels::prefill
