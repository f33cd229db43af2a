// The warps that bring a block's share of latents to shared memory: one thread where they are bf16
// and come as boxes, four warps where they are codes.
#pragma once

#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/stage_latents.cuh"
#include "kernels/ops/mla/task.cuh"

namespace moecast::kernels::mla {

constexpr int kPrefetched = 4;  // pages of codes that are on their way to L2

// The one warp of bf16 latents, and of any latents the thread that brings their rotary parts.
template <KvElement kElement>
struct BoxCopier {
  static constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  static constexpr int kRotaryRows = kLayout.page_bytes / (kRotaryChannels * 2);
  static constexpr int kRotaryStart = kLayout.rotary / (kRotaryChannels * 2);
  static constexpr int kLatentRows = kLayout.page_bytes / (kLatentChannels * 2);

  Ring& ring;
  const Maps& maps;

  // One thread. RETURNS: after it has announced `bytes` besides.
  __device__ void LoadRotary(int step, int32_t page, uint32_t bytes) {
    uint64_t* const full = &ring.full[step % kStages][0];
    ptx::BarrierArriveExpect(full, bytes + kBlockBytes);
    ptx::LoadBox(ring.tiles[step % kStages][kRotaryBlock], &maps.rotary, 0,
                 page * kRotaryRows + kRotaryStart, full, ptx::EvictFirst());
  }
  // One thread.
  __device__ void LoadHalf(int step, int half, int32_t page) {
    uint64_t* const full = &ring.full[step % kStages][half];
    if (half > 0) ptx::BarrierArriveExpect(full, kHalfBlocks * kBlockBytes);
#pragma unroll
    for (int b = half * kHalfBlocks; b < (half + 1) * kHalfBlocks; ++b)
      ptx::LoadBox(ring.tiles[step % kStages][b], &maps.latents, b * kBlockColumns,
                   page * kLatentRows, full, ptx::EvictFirst());
  }

  // One warp: the whole share.
  __device__ void Run(UnitWalk walk) {
    for (int step = 0; !walk.AtEnd(); walk.Advance(), ++step) {
      const int32_t page = walk.PageAhead(0);
      ring.WaitEmpty(step, 0);
      if (threadIdx.x == 0) {
        ring.parts[walk.PartNumber() % kPartsKept] = walk.CurrentPart();
        LoadRotary(step, page, kHalfBlocks * kBlockBytes);
        LoadHalf(step, 0, page);
      }
      ring.WaitEmpty(step, 1);
      if (threadIdx.x == 0) LoadHalf(step, 1, page);
    }
  }
};

// Four warps turn codes into bf16, 16 tokens each. A place in registers is filled with what comes
// half a stage later as soon as it is empty.
template <KvElement kElement>
struct CodeCopier {
  Ring& ring;
  const Maps& maps;
  const uint8_t* pages;
  UnitWalk walk;

  // Of the walk's unit, and news of its part to those who multiply.
  __device__ int32_t BeginPage() {
    if (threadIdx.x == 0) ring.parts[walk.PartNumber() % kPartsKept] = walk.CurrentPart();
    for (int ahead = walk.BeginsPart() ? 1 : kPrefetched; ahead <= kPrefetched; ++ahead) {
      const int32_t later = walk.PageAhead(ahead);
      if (later >= 0) PrefetchPage<kElement>(PageAt(later));
    }
    return walk.PageAhead(0);
  }
  __device__ const uint8_t* PageAt(int32_t number) const {
    return pages + static_cast<int64_t>(number) * LatentLayoutOf(kElement).page_bytes;
  }

  __device__ __forceinline__ void TurnHalf(int step, int half, WarpCodes<kElement>& codes,
                                           int32_t next_page) {
    codes.StoreAndRead(ptx::SharedAddress(ring.tiles[step % kStages][half * kHalfBlocks]),
                       {PageAt(next_page), 1 - half});
    ptx::SharedWritesFence();
    ArriveWarp(&ring.full[step % kStages][half]);
  }

  __device__ void Run() {
    WarpCodes<kElement> codes;
    int32_t page = BeginPage();
    codes.Read({PageAt(page), 0});
#pragma unroll 1
    for (int step = 0; !walk.AtEnd(); ++step) {
      ring.WaitEmpty(step, 0);
      if (threadIdx.x == 0) BoxCopier<kElement>{ring, maps}.LoadRotary(step, page, 0);
      TurnHalf(step, 0, codes, page);
      walk.Advance();
      if (!walk.AtEnd()) page = BeginPage();
      ring.WaitEmpty(step, 1);
      TurnHalf(step, 1, codes, page);
    }
  }
};

}  // namespace moecast::kernels::mla
