// The warps that bring a block's share of latents to shared memory: one thread where they are bf16
// and come as boxes, four warps where they are codes.
#pragma once

#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/share.cuh"
#include "kernels/ops/mla/stage_latents.cuh"
#include "kernels/ops/mla/task.cuh"

namespace moecast::kernels::mla {

constexpr int kPrefetched = 5;  // units of codes that are on their way to L2

template <int kRows, KvElement kElement>
struct Copier {
  static constexpr int kTokens = Geometry<kRows>::kTokens;

  Shared<kRows>& shared;
  const Maps& maps;
  const Task& task;
  StepWalk<kTokens> walk;
  Cursor<Geometry<kRows>::kStages> cursor;

  // The stage is free; its first copier says what will lie there.
  __device__ void Claim() {
    ptx::BarrierWait(&shared.empty[cursor.stage], cursor.parity ^ 1U);
    if (threadIdx.x == 0) shared.steps[cursor.stage] = walk.Current();
  }

  __device__ void LoadBoxes() {
    constexpr int kPageRows = LatentLayoutOf(kElement).page_bytes / (kLatentChannels * 2);
    constexpr int kRotaryRows = LatentLayoutOf(kElement).page_bytes / (kRotaryChannels * 2);
    constexpr int kRotaryStart = LatentLayoutOf(kElement).rotary / (kRotaryChannels * 2);
    const int32_t page = walk.PageAhead(0);
    const int first = walk.TokenAhead(0);
    Claim();
    if (threadIdx.x != 0) return;
    uint64_t* const full = &shared.full[cursor.stage];
    auto& tile = shared.latents[cursor.stage];
    ptx::BarrierArriveExpect(full, kBlocks * Geometry<kRows>::kTileBytes);
#pragma unroll
    for (int b = 0; b < kRotaryBlock; ++b)
      ptx::LoadBox(tile[b], &maps.latents, b * kBlockColumns, page * kPageRows + first, full);
    ptx::LoadBox(tile[kRotaryBlock], &maps.rotary, 0, page * kRotaryRows + kRotaryStart + first,
                 full);
  }

  __device__ const uint8_t* PageAt(int32_t page) const {
    constexpr int64_t kPageBytes = LatentLayoutOf(kElement).page_bytes;
    return task.args.cache.pages + page * kPageBytes;
  }

  __device__ void Prefetch(int ahead) {
    const int32_t page = walk.PageAhead(ahead);
    if (page >= 0) PrefetchTokens<kElement, kTokens>(PageAt(page), walk.TokenAhead(ahead));
  }

  __device__ void Dequantise() {
    if (walk.BeginsPart())
      for (int ahead = 1; ahead < kPrefetched; ++ahead) Prefetch(ahead);
    Prefetch(kPrefetched);
    const uint8_t* const page = PageAt(walk.PageAhead(0));
    ReadTokens<kElement> read;
    read.Read(page, walk.TokenAhead(0));
    Claim();
    read.Store(shared.latents[cursor.stage], 0);
#pragma unroll 1
    for (int first = kReadTokens; first < kTokens; first += kReadTokens) {
      read.Read(page, walk.TokenAhead(0) + first);
      read.Store(shared.latents[cursor.stage], first);
    }
    ptx::SharedWritesFence();
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::BarrierArrive(&shared.full[cursor.stage]);
  }

  __device__ void Run() {
    for (; !walk.AtEnd(); walk.Advance(), cursor = cursor.Next()) {
      if constexpr (kElement == KvElement::kBf16) {
        LoadBoxes();
      } else {
        Dequantise();
      }
    }
  }
};

}  // namespace moecast::kernels::mla
