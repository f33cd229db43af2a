// Latent attention of 64 query heads: heads are the rows of a product. Steps come in pairs, one for
// each of two warpgroups: it computes its step's scores and weights, then adds both steps' latents
// to its half of the result channels, so that one multiplies while the other is at its softmax.
#pragma once

#include "kernels/ops/attend_prefill/online_softmax.cuh"
#include "kernels/ops/mla/merge.cuh"
#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/query_half.cuh"

namespace moecast::kernels::mla {

constexpr int kManyHeads = 64;

// The rotary part of the query stays in registers, to make room.
struct alignas(1024) ManyHeadsShared {
  static constexpr int kRows = kManyHeads;
  static constexpr int kRowsBytes = kRows * 128;

  uint8_t query[kRotaryBlock][kRowsBytes];
  uint8_t weights[kConsumers][kRowsBytes];
  Ring ring;
  float largest[kConsumers][kManyHeads];  // after the warpgroup's last step
  float factor[kConsumers][kManyHeads];   // what earlier results are multiplied with
  float sum[kConsumers][kManyHeads];
  uint32_t query_largest[kConsumerWarps];
  uint64_t query_full;
  uint64_t query_free;                 // one arrival for each part
  uint64_t scores_ready;               // the second warpgroup's: one arrival of each of its warps
  uint64_t weights_ready[kConsumers];  // one arrival of every warp of their warpgroup
  uint64_t weights_free[kConsumers];   // one of every warp of the other
  Split split;
  Owed owed;

  // One thread.
  __device__ void Init(bool codes) {
    ring.Init(codes);
    ptx::BarrierInit(&query_full, 1);
    ptx::BarrierInit(&query_free, 1);
    ptx::BarrierInit(&scores_ready, 4);
    for (int g = 0; g < kConsumers; ++g) {
      ptx::BarrierInit(&weights_ready[g], 4);
      ptx::BarrierInit(&weights_free[g], 4);
    }
    ptx::BarrierInitFence();
  }
  // The rotary part comes by way of the weights' place.
  __device__ uint8_t* QueryBlock(int block) {
    return block < kRotaryBlock ? query[block] : weights[0];
  }
};

// group  of the two warpgroups
// kHalf  format of the tiles
template <int group, Half kHalf>
struct ManyHeadsGroup {
  static constexpr int kRows = kManyHeads;
  using Shared = ManyHeadsShared;
  static constexpr int kScores = kPageTokens / 2;     // of a lane: 64 rows over 128 lanes
  static constexpr int kResults = kHalfChannels / 2;  // likewise
  static constexpr int kSteps = kPageTokens / 16;     // of a product over tokens
  static constexpr int kRotarySteps = kRotaryChannels / 16;
  // The first warpgroup's values wait for the second's scores: so both warpgroups' values fill the
  // second's softmax. Not where codes are turned, which want their place sooner.
  static constexpr bool kYields = kHalf == Half::kBf16;

  Shared& shared;
  Results<kManyHeads> results;
  // The lane's first row, the other is 8 further on.
  const int row =
      static_cast<int>(threadIdx.x) / 32 % 4 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
  float sum[2];
  float unit = 1;                    // what a product of this query is worth
  uint32_t rotary[kRotarySteps][4];  // of the query
  int part_number = 0;
  uint32_t own_uses = 0;    // of its weights so far
  uint32_t other_uses = 0;  // of the other's

  __device__ __forceinline__ void MultiplyHalfKeys(uint64_t a, uint64_t b, int half,
                                                   float (&s)[kScores]) {
#pragma unroll
    for (int k = half * kHalfBlocks * 4; k < (half + 1) * kHalfBlocks * 4; ++k) {
      const int offset = k / 4 * (kBlockBytes >> 4) + k % 4 * 2;
      ptx::Product<kHalf>(s, a + offset, b + offset, k > 0);
    }
  }

  // s = query keys^T of a step.
  __device__ __forceinline__ void MultiplyKeys(int step, float (&s)[kScores]) {
    const uint64_t a = ptx::TileDescriptor(shared.query);
    const uint64_t b = ptx::TileDescriptor(shared.ring.tiles[step % kStages]);
    shared.ring.WaitFull(step, 0);
    ptx::HoldRegisters(s);
    ptx::ProductFence();
    MultiplyHalfKeys(a, b, 0, s);
#pragma unroll
    for (int k = 0; k < kRotarySteps; ++k)
      ptx::Product<Half::kBf16>(s, rotary[k], b + kRotaryBlock * (kBlockBytes >> 4) + k * 2, true);
    ptx::ProductCommit();
    shared.ring.WaitFull(step, 1);
    ptx::ProductFence();
    MultiplyHalfKeys(a, b, 1, s);
    ptx::ProductCommit();
    ptx::ProductWait<0>();
    ptx::HoldRegisters(s);
  }

  // Weights in place of scores, in bf16, and the factor to earlier steps.
  //   before  whose step precedes this one: its largest; -1: this is the sequence's first
  __device__ __forceinline__ void Soften(int valid, int before, float (&s)[kScores],
                                         uint32_t (&p)[kSteps][4], float (&factor)[2],
                                         float (&step_sum)[2]) {
    if (valid < kPageTokens) attend::Mask(s, {0, 0}, {valid - 1, valid - 1});
    attend::RowState state;
    float seen[2];
    attend::RowMaxima(s, seen);
    if (before >= 0) {
      state.largest[0] = shared.largest[before][row];
      state.largest[1] = shared.largest[before][row + 8];
    }
    if (threadIdx.x % 4 == 0) {
      shared.largest[group][row] = fmaxf(state.largest[0], seen[0]);
      shared.largest[group][row + 8] = fmaxf(state.largest[1], seen[1]);
    }
    attend::Exponentiate(s, seen, results.task.scale * unit, state, factor);
    step_sum[0] = state.sum[0];
    step_sum[1] = state.sum[1];
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) p[k][i] = Pack<kHalf>(s[k * 8 + i * 2], s[k * 8 + i * 2 + 1]);
    }
  }

  // This warpgroup's weights for the other.
  __device__ __forceinline__ void PublishWeights(const uint32_t (&p)[kSteps][4],
                                                 const float (&factor)[2]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    ptx::BarrierWait(&shared.weights_free[group], own_uses % 2 ^ 1U);
#pragma unroll
    for (int k = 0; k < kSteps; ++k)
      ptx::StoreMatrix(
          ChunkAt(shared.weights[group], row - lane / 4 + lane % 16, k * 2 + lane / 16), p[k]);
    if (lane % 4 == 0) {
      shared.factor[group][row] = factor[0];
      shared.factor[group][row + 8] = factor[1];
    }
    ptx::SharedWritesFence();
    ArriveWarp(&shared.weights_ready[group]);
  }

  __device__ __forceinline__ void Rescale(float (&o)[kResults], const float (&factor)[2],
                                          const float (&step_sum)[2], bool first) {
    sum[0] = sum[0] * factor[0] + step_sum[0];
    sum[1] = sum[1] * factor[1] + step_sum[1];
    if (!first && __any_sync(kWarp, factor[0] != 1 || factor[1] != 1)) attend::ScaleRows(o, factor);
  }

  __device__ __forceinline__ uint64_t OwnChannels(int step) const {
    return ptx::RowsDescriptor(shared.ring.tiles[step % kStages][group * kHalfBlocks], kBlockBytes);
  }

  // o (+)= the other warpgroup's weights times latents of its step, in flight.
  __device__ __forceinline__ void BeginOther(int step, float (&o)[kResults], bool first) {
    const int other = 1 - group;
    ptx::BarrierWait(&shared.weights_ready[other], other_uses % 2);
    const float factor[2] = {shared.factor[other][row], shared.factor[other][row + 8]};
    Rescale(o, factor, {0, 0}, first);
    const uint64_t a = ptx::TileDescriptor(shared.weights[other]);
    const uint64_t b = OwnChannels(step);
    ptx::HoldRegisters(o);
    ptx::ProductFence();
#pragma unroll
    for (int k = 0; k < kSteps; ++k)
      ptx::ProductRows<kHalf>(o, a + k * 2, b + k * 128, !first || k > 0);
    ptx::ProductCommit();
  }
  __device__ __forceinline__ void EndOther(int step, float (&o)[kResults]) {
    ptx::ProductWait<0>();
    ptx::HoldRegisters(o);
    shared.ring.Release(step, group);
    ArriveWarp(&shared.weights_free[1 - group]);
    ++other_uses;
  }
  __device__ __forceinline__ void AddOther(int step, float (&o)[kResults], bool first) {
    BeginOther(step, o, first);
    EndOther(step, o);
  }

  // o (+)= this warpgroup's weights times latents of its step, in flight.
  __device__ __forceinline__ void BeginOwn(int step, const uint32_t (&p)[kSteps][4],
                                           float (&o)[kResults], bool first) {
    const uint64_t b = OwnChannels(step);
    ptx::HoldRegisters(o);
    ptx::ProductFence();
#pragma unroll
    for (int k = 0; k < kSteps; ++k) ptx::ProductRows<kHalf>(o, p[k], b + k * 128, !first || k > 0);
    ptx::ProductCommit();
  }
  __device__ __forceinline__ void EndOwn(int step, float (&o)[kResults]) {
    ptx::ProductWait<0>();
    ptx::HoldRegisters(o);
    shared.ring.Release(step, group);
    ++own_uses;
  }

  __device__ __forceinline__ void ReadRotary() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int k = 0; k < kRotarySteps; ++k)
      ptx::LoadMatrix(ChunkAt(shared.weights[0], row - lane / 4 + lane % 16, k * 2 + lane / 16),
                      rotary[k]);
    MeetAll();  // before the first weights are written there
  }

  // The first warpgroup's work on steps `step` and, if there is one, the next.
  __device__ __forceinline__ void RunFirst(int step, int valid, bool pair, bool first,
                                           float (&o)[kResults]) {
    float s[kScores];
    uint32_t p[kSteps][4];
    float factor[2];
    float step_sum[2];
    MultiplyKeys(step, s);
    Soften(valid, first ? -1 : 1, s, p, factor, step_sum);
    PublishWeights(p, factor);
    Rescale(o, factor, step_sum, first);
    if (kYields && pair) ptx::BarrierWait(&shared.scores_ready, other_uses % 2);
    BeginOwn(step, p, o, first);
    EndOwn(step, o);
    if (pair) AddOther(step + 1, o, false);
  }
  // The second's: its step is the latter. The first one's values are multiplied during its softmax.
  __device__ __forceinline__ void RunSecond(int step, int valid, bool pair, bool first,
                                            float (&o)[kResults]) {
    if (!pair) return AddOther(step, o, first);
    float s[kScores];
    uint32_t p[kSteps][4];
    float factor[2];
    float step_sum[2];
    MultiplyKeys(step + 1, s);
    if (kYields) ArriveWarp(&shared.scores_ready);
    BeginOther(step, o, first);
    Soften(valid - kPageTokens, 0, s, p, factor, step_sum);
    PublishWeights(p, factor);
    EndOther(step, o);
    Rescale(o, factor, step_sum, false);
    BeginOwn(step + 1, p, o, false);
    EndOwn(step + 1, o);
  }

  // The units of one sequence in this block.
  __device__ const Part& CurrentPart() const { return shared.ring.parts[part_number % kPartsKept]; }

  // All steps of the part, from number `first` on.
  __device__ __forceinline__ void RunPart(int first, float (&o)[kResults]) {
    sum[0] = sum[1] = 0;
    ptx::BarrierWait(&shared.query_full, part_number % 2);
    if constexpr (kHalf == Half::kF16) unit = TurnQuery(shared);
    ReadRotary();
    const int units = CurrentPart().Units(results.split);
    int valid = CurrentPart().TokensFrom(results.split, 0);
    for (int unit = 0; unit < units; unit += 2, valid -= 2 * kPageTokens) {
      const bool pair = unit + 1 < units;
      if constexpr (group == 0) {
        RunFirst(first + unit, valid, pair, unit == 0, o);
      } else {
        RunSecond(first + unit, valid, pair, unit == 0, o);
      }
    }
  }

  // Writes the result of a sequence that is this block's alone, or leaves this block's part of it.
  __device__ __forceinline__ void FinishPart(const Part& part, float (&o)[kResults]) {
    float weight[2];
    float largest[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float mine = attend::QuadSum(sum[i]);
      if (threadIdx.x % 4 == 0) shared.sum[group][row + 8 * i] = mine;
    }
    MeetAll();
    if (results.Leads()) ptx::BarrierArrive(&shared.query_free);
    const int last = part.Units(results.split) % 2 ^ 1;  // whose step was the last
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      weight[i] = shared.sum[0][row + 8 * i] + shared.sum[1][row + 8 * i];
      largest[i] = shared.largest[last][row + 8 * i];
    }
    MeetAll();  // before the next sequence overwrites them
    const int column = group * kHalfChannels + static_cast<int>(threadIdx.x) % 4 * 2;
    if (results.Whole(part)) {
      const float factor[2] = {1 / weight[0], 1 / weight[1]};
      attend::ScaleRows(o, factor);
      StoreOut(results.Out(part.sequence) + column, o);
    } else {
      StorePart(results.Share(part), column, weight, largest, o);
    }
  }

  __device__ __forceinline__ void StoreOut(__nv_bfloat16* out, const float (&o)[kResults]) const {
#pragma unroll
    for (int i = 0; i < kResults; i += 2)
      *reinterpret_cast<__nv_bfloat162*>(out + (row + i / 2 % 2 * 8) * kLatentChannels +
                                         i / 4 * 8) = __floats2bfloat162_rn(o[i], o[i + 1]);
  }

  __device__ __forceinline__ void StorePart(PartResult<kManyHeads>& part, int column,
                                            const float (&weight)[2], const float (&largest)[2],
                                            const float (&o)[kResults]) const {
#pragma unroll
    for (int i = 0; i < kResults; i += 2)
      *reinterpret_cast<float2*>(&part.sum[row + i / 2 % 2 * 8][column + i / 4 * 8]) =
          make_float2(o[i], o[i + 1]);
    if constexpr (group == 0) {
      if (threadIdx.x % 4 != 0) return;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        part.largest[row + 8 * i] = largest[i] * unit;
        part.weight[row + 8 * i] = weight[i];
      }
    }
  }

  __device__ void Run() {
    const int steps = results.split.end - results.split.first;
    for (int step = 0; step < steps; ++part_number) {
      float o[kResults];
      RunPart(step, o);
      step += CurrentPart().Units(results.split);
      FinishPart(CurrentPart(), o);
    }
  }
};

template <Half kHalf>
struct ManyHeads {
  static constexpr int kRows = kManyHeads;
  static constexpr int kCodeRegisters = 88;  // of a thread that turns codes
  static constexpr int kHalvesHeld = 1;      // of a stage, in those registers
  using Shared = ManyHeadsShared;

  Shared& shared;
  Results<kManyHeads> results;
  const int group;

  __device__ void Run() {
    if (group == 0) {
      ManyHeadsGroup<0, kHalf>{shared, results}.Run();
    } else {
      ManyHeadsGroup<1, kHalf>{shared, results}.Run();
    }
    results.Merge();
  }
};

}  // namespace moecast::kernels::mla
