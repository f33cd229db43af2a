// The warps that bring a block's share of latents to shared memory: one thread where they are bf16
// and come as boxes, four warps where they are codes.
#pragma once

#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/stage_latents.cuh"
#include "kernels/ops/mla/task.cuh"

namespace moecast::kernels::mla {

constexpr int kPrefetched = 4;  // pages of codes that are on their way to L2

// What both kinds of copiers do with boxes. Shared: of the form of attention.
template <class Shared, KvElement kElement>
struct Boxes {
  static constexpr LatentLayout kLayout = LatentLayoutOf(kElement);
  static constexpr int kRotaryRows = kLayout.page_bytes / (kRotaryChannels * 2);
  static constexpr int kRotaryStart = kLayout.rotary / (kRotaryChannels * 2);
  static constexpr int kLatentRows = kLayout.page_bytes / (kLatentChannels * 2);

  Shared& shared;
  const Maps& maps;
  const Task& task;

  // One thread, once for each part in order, when Announce has said what it is.
  __device__ void LoadQuery(int number) {
    ptx::BarrierWait(&shared.query_free, number % 2 ^ 1U);
    const Part& part = shared.ring.parts[number % kPartsKept];
    const int head_group = static_cast<int>(blockIdx.x) % task.head_groups;
    const int row = part.sequence * task.args.shape.query_heads + head_group * Shared::kRows;
    ptx::BarrierArriveExpect(&shared.query_full, kBlocks * Shared::kRows * 128);
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      ptx::LoadBox(shared.QueryBlock(b), &maps.query, b * kBlockColumns, row, &shared.query_full);
  }

  __device__ void Announce(const UnitWalk& walk) {
    shared.ring.parts[walk.PartNumber() % kPartsKept] = walk.CurrentPart();
  }

  // One thread. Announces `bytes` besides.
  __device__ void LoadRotary(int step, int32_t page, uint32_t bytes) {
    Ring& ring = shared.ring;
    uint64_t* const full = &ring.full[step % kStages][0];
    ptx::BarrierArriveExpect(full, bytes + kBlockBytes);
    ptx::LoadBox(ring.tiles[step % kStages][kRotaryBlock], &maps.rotary, 0,
                 page * kRotaryRows + kRotaryStart, full, ptx::EvictFirst());
  }
  // One thread.
  __device__ void LoadHalf(int step, int half, int32_t page) {
    Ring& ring = shared.ring;
    uint64_t* const full = &ring.full[step % kStages][half];
    if (half > 0) ptx::BarrierArriveExpect(full, kHalfBlocks * kBlockBytes);
#pragma unroll
    for (int b = half * kHalfBlocks; b < (half + 1) * kHalfBlocks; ++b)
      ptx::LoadBox(ring.tiles[step % kStages][b], &maps.latents, b * kBlockColumns,
                   page * kLatentRows, full, ptx::EvictFirst());
  }
};

// One warp brings bf16 latents.
template <class Shared>
struct BoxCopier {
  Boxes<Shared, KvElement::kBf16> boxes;

  __device__ void Run(UnitWalk walk) {
    for (int step = 0; !walk.AtEnd(); walk.Advance(), ++step) {
      const int32_t page = walk.PageAhead(0);
      boxes.shared.ring.WaitEmpty(step, 0);
      if (threadIdx.x == 0) {
        boxes.LoadRotary(step, page, kHalfBlocks * kBlockBytes);
        boxes.LoadHalf(step, 0, page);
      }
      boxes.shared.ring.WaitEmpty(step, 1);
      if (threadIdx.x == 0) {
        boxes.LoadHalf(step, 1, page);
        if (walk.BeginsPart()) {
          boxes.Announce(walk);
          boxes.LoadQuery(walk.PartNumber());
        }
      }
      __syncwarp();
    }
  }
};

// Four warps turn codes into f16, 16 tokens each. Places in registers are filled with what comes
// kHeld halves of a stage later as soon as they are empty.
template <class Shared, KvElement kElement, int kHeld>
struct CodeCopier {
  using Codes = WarpCodes<kElement>;
  Boxes<Shared, kElement> boxes;
  UnitWalk walk;

  __device__ const uint8_t* PageAt(int32_t number) const {
    return boxes.task.args.cache.pages +
           static_cast<int64_t>(number) * LatentLayoutOf(kElement).page_bytes;
  }
  // Of the walk's unit; later ones set out for L2.
  __device__ int32_t BeginPage() {
    for (int ahead = walk.BeginsPart() ? 1 : kPrefetched; ahead <= kPrefetched; ++ahead) {
      const int32_t later = walk.PageAhead(ahead);
      if (later >= 0 && Leads())
        ptx::PrefetchBulk(PageAt(later), LatentLayoutOf(kElement).page_bytes);
    }
    return walk.PageAhead(0);
  }
  // After `page`; the last one follows itself.
  __device__ int32_t NextPage(int32_t page) {
    walk.Advance();
    return walk.AtEnd() ? page : BeginPage();
  }
  __device__ static bool Leads() { return threadIdx.x == 0; }

  __device__ __forceinline__ void TurnHalf(int step, int half, Codes& codes,
                                           const LaneSource<kElement>& next) {
    Ring& ring = boxes.shared.ring;
    codes.StoreAndRead(ptx::SharedAddress(ring.tiles[step % kStages][half * kHalfBlocks]), next);
    ptx::SharedWritesFence();
    ArriveWarp(&ring.full[step % kStages][half]);
  }

  __device__ void Run() {
    Codes codes[kHeld];
    int32_t page = BeginPage();
#pragma unroll
    for (int half = 0; half < kHeld; ++half) {
      codes[half].Read({PageAt(page), half}, 0);
      codes[half].Read({PageAt(page), half}, Codes::kTogether);
    }
#pragma unroll 1
    for (int step = 0; !walk.AtEnd(); ++step) {
      const int part = walk.BeginsPart() ? walk.PartNumber() : -1;
      if (Leads()) {
        if (part >= 0) boxes.Announce(walk);
        if (part == 0) boxes.LoadQuery(0);
      }
      boxes.shared.ring.WaitEmpty(step, 0);
      if (Leads()) boxes.LoadRotary(step, page, 0);
      if constexpr (kHeld == 2) page = NextPage(page);
      TurnHalf(step, 0, codes[0], {PageAt(page), kHeld == 2 ? 0 : 1});
      if constexpr (kHeld == 1) page = NextPage(page);
      boxes.shared.ring.WaitEmpty(step, 1);
      TurnHalf(step, 1, codes[kHeld - 1], {PageAt(page), kHeld == 2 ? 1 : 0});
      if (part > 0 && Leads()) boxes.LoadQuery(part);
      __syncwarp();
    }
  }
};

}  // namespace moecast::kernels::mla
