// Latent attention of few query heads, 8, 16 or 32: tokens, then channels, are the 64 rows of a
// product and heads its columns, so that no row is wasted. Each of two warpgroups takes every other
// step and keeps a softmax and a result of its own; they are added when a sequence ends.
#pragma once

#include "kernels/ops/attend_prefill/online_softmax.cuh"
#include "kernels/ops/mla/merge.cuh"
#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/query_half.cuh"

namespace moecast::kernels::mla {

template <int kHeads>
struct alignas(1024) FewHeadsShared {
  static constexpr int kRows = kHeads;

  uint8_t query[kBlocks][kHeads * 128];
  uint8_t weights[kConsumers][4096];  // [heads][64 tokens], as tiles
  Ring ring;
  float traded[kHalfChannels * kHeads];    // half of a warpgroup's result
  float maxima[kConsumers][2][4][kHeads];  // of a step in turn, by warp
  float largest[kConsumers][kHeads];       // of a part
  float sum[kConsumers][4][kHeads];        // likewise, by warp
  uint32_t query_largest[kConsumerWarps];
  uint64_t query_full;
  uint64_t query_free;  // one arrival for each part
  Split split;
  Owed owed;

  // One thread.
  __device__ void Init(bool codes) {
    ring.Init(codes);
    ptx::BarrierInit(&query_full, 1);
    ptx::BarrierInit(&query_free, 1);
    ptx::BarrierInitFence();
  }
  __device__ uint8_t* QueryBlock(int block) { return query[block]; }
};

// kHalf  format of the tiles
template <int kHeads, Half kHalf>
struct FewHeads {
  static constexpr int kRows = kHeads;
  static constexpr int kCodeRegisters = kHeads == 32 ? 104 : 136;  // of a thread that turns codes
  static constexpr int kHalvesHeld = kHeads == 32 ? 1 : 2;         // of a stage, in those registers
  using Shared = FewHeadsShared<kHeads>;
  static constexpr int kScores = kHeads / 2;   // of a lane: 64 rows over 128 lanes
  static constexpr int kColumns = kHeads / 4;  // heads of a lane: 8 j + lane % 4 * 2 + {0, 1}

  Shared& shared;
  Results<kHeads> results;
  const int group;  // warpgroup
  const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float largest[kColumns];
  float sum[kColumns];  // of the lane's tokens
  float unit = 1;       // what a product of this query is worth
  int part_number = 0;

  // Which of the lane's heads accumulator i belongs to, and the head itself.
  __device__ static constexpr int ColumnOf(int i) { return i / 4 * 2 + i % 2; }
  __device__ int HeadOf(int column) const { return column / 2 * 8 + lane % 4 * 2 + column % 2; }

  // Of a descriptor, to columns 16 k and on.
  __device__ static constexpr uint64_t BlockStep(int k, int block_bytes) {
    return static_cast<uint64_t>(k / 4 * (block_bytes >> 4) + k % 4 * 2);
  }
  __device__ __forceinline__ static void MultiplyHalfKeys(uint64_t a, uint64_t b, int half,
                                                          float (&s)[kScores]) {
#pragma unroll
    for (int k = half * kHalfBlocks * 4; k < (half + 1) * kHalfBlocks * 4; ++k)
      ptx::Product<kHalf>(s, a + BlockStep(k, kBlockBytes), b + BlockStep(k, kHeads * 128), k > 0);
  }

  // s = keys query^T of a step.
  __device__ __forceinline__ void MultiplyKeys(int step, float (&s)[kScores]) {
    const uint64_t a = ptx::TileDescriptor(shared.ring.tiles[step % kStages]);
    const uint64_t b = ptx::TileDescriptor(shared.query);
    shared.ring.WaitFull(step, 0);
    ptx::HoldRegisters(s);
    ptx::ProductFence();
    MultiplyHalfKeys(a, b, 0, s);
#pragma unroll
    for (int k = kRotaryBlock * 4; k < kBlocks * 4; ++k)
      ptx::Product<Half::kBf16>(s, a + BlockStep(k, kBlockBytes), b + BlockStep(k, kHeads * 128),
                                true);
    ptx::ProductCommit();
    shared.ring.WaitFull(step, 1);
    ptx::ProductFence();
    MultiplyHalfKeys(a, b, 1, s);
    ptx::ProductCommit();
    ptx::ProductWait<0>();
    ptx::HoldRegisters(s);
  }

  // o += latents^T weights of a step, 64 channels each.
  __device__ __forceinline__ void MultiplyLatents(int step, float (&o)[kRotaryBlock][kScores]) {
    const uint64_t a = ptx::RowsDescriptor(shared.ring.tiles[step % kStages], kBlockBytes);
    const uint64_t b = ptx::TileDescriptor(shared.weights[group]);
#pragma unroll
    for (int m = 0; m < kRotaryBlock; ++m) ptx::HoldRegisters(o[m]);
    ptx::ProductFence();
#pragma unroll
    for (int k = 0; k < kPageTokens / 16; ++k) {
#pragma unroll
      for (int m = 0; m < kRotaryBlock; ++m)
        ptx::ProductColumns<kHalf>(o[m], a + m * (kBlockBytes >> 4) + k * 128, b + k * 2, true);
    }
    ptx::ProductCommit();
    ptx::ProductWait<0>();
#pragma unroll
    for (int m = 0; m < kRotaryBlock; ++m) ptx::HoldRegisters(o[m]);
  }

  // Largest score of each of the lane's heads in this step, over all warps of the group.
  __device__ __forceinline__ void StepMaxima(int step, const float (&s)[kScores],
                                             float (&seen)[kColumns]) {
    auto& mine = shared.maxima[group][step / kConsumers % 2];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int i = c / 2 * 4 + c % 2;
      seen[c] = fmaxf(s[i], s[i + 2]);
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2)
        seen[c] = fmaxf(seen[c], __shfl_xor_sync(kWarp, seen[c], distance));
      if (lane < 4) mine[warp][HeadOf(c)] = seen[c];
    }
    MeetGroup(group);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int w = 0; w < 4; ++w) seen[c] = fmaxf(seen[c], mine[w][HeadOf(c)]);
    }
  }

  // Weights of the step in place of its scores, and its factor to earlier ones.
  __device__ __forceinline__ void Soften(int step, int valid, float (&s)[kScores],
                                         float (&factor)[kColumns]) {
    const float scale = results.task.scale * unit;
    if (valid < kPageTokens) {
      const int row = warp * 16 + lane / 4;
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        if (row + i / 2 % 2 * 8 >= valid) s[i] = -INFINITY;
    }
    float seen[kColumns];
    StepMaxima(step, s, seen);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const float most = fmaxf(largest[c], seen[c]);
      factor[c] = ptx::Exp2((largest[c] - most) * scale);
      largest[c] = most;
      const int i = c / 2 * 4 + c % 2;
      s[i] = ptx::Exp2(fmaf(s[i], scale, -most * scale));
      s[i + 2] = ptx::Exp2(fmaf(s[i + 2], scale, -most * scale));
      sum[c] = sum[c] * factor[c] + s[i] + s[i + 2];
    }
  }

  // Rows of a head: 64 tokens, 16 of each warp.
  __device__ __forceinline__ void StoreWeights(const float (&s)[kScores]) {
#pragma unroll
    for (int i = 0; i < kScores; i += 8) {
      constexpr bool kOnce = kScores < 8;  // two matrices alone, stored twice
      uint32_t m[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = i + (kOnce ? j % 2 : j) * 2;
        m[j] = Pack<kHalf>(s[at], s[at + 1]);
      }
      const int head = i * 2 + (kOnce ? 0 : lane / 16 * 8) + lane % 8;
      ptx::StoreMatrixTransposed(ChunkAt(shared.weights[group], head, warp * 2 + lane / 8 % 2), m);
    }
    ptx::SharedWritesFence();
  }

  __device__ __forceinline__ static void Scale(float (&o)[kRotaryBlock][kScores],
                                               const float (&factor)[kColumns]) {
    bool all = true;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) all = all && factor[c] == 1;
    if (__all_sync(kWarp, all)) return;
#pragma unroll
    for (int m = 0; m < kRotaryBlock; ++m) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) o[m][i] *= factor[ColumnOf(i)];
    }
  }

  // All steps of one sequence in this block, from number `first` on.
  __device__ __forceinline__ Part RunPart(int first, float (&o)[kRotaryBlock][kScores]) {
    ptx::BarrierWait(&shared.query_full, part_number % 2);
    const Part part = shared.ring.parts[part_number % kPartsKept];
    if constexpr (kHalf == Half::kF16) unit = TurnQuery(shared);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      largest[c] = -INFINITY;
      sum[c] = 0;
    }
#pragma unroll
    for (int m = 0; m < kRotaryBlock; ++m) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) o[m][i] = 0;
    }
    const int units = part.Units(results.split);
    for (int unit = first % kConsumers == group ? 0 : 1; unit < units; unit += kConsumers) {
      const int step = first + unit;
      float s[kScores];
      float factor[kColumns];
      MultiplyKeys(step, s);
      Soften(step, part.TokensFrom(results.split, unit), s, factor);
      StoreWeights(s);
      Scale(o, factor);
      MeetGroup(group);
      MultiplyLatents(step, o);
      shared.ring.Release(step, 0);
      shared.ring.Release(step, 1);
    }
    return part;
  }

  // Brings both warpgroups' results to one scale. RETURNS: their weight.
  __device__ __forceinline__ void Align(float (&o)[kRotaryBlock][kScores],
                                        float (&weight)[kColumns]) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2)
        sum[c] += __shfl_xor_sync(kWarp, sum[c], distance);
      if (lane >= 4) continue;
      shared.largest[group][HeadOf(c)] = largest[c];
      shared.sum[group][warp][HeadOf(c)] = sum[c];
    }
    MeetAll();
    if (results.Leads()) ptx::BarrierArrive(&shared.query_free);
    float factor[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int head = HeadOf(c);
      const float most = fmaxf(shared.largest[0][head], shared.largest[1][head]);
      weight[c] = 0;
#pragma unroll
      for (int g = 0; g < kConsumers; ++g) {
        const float its = ptx::Exp2((shared.largest[g][head] - most) * (results.task.scale * unit));
        if (g == group) factor[c] = its;
        weight[c] += its * (shared.sum[g][0][head] + shared.sum[g][1][head] +
                            shared.sum[g][2][head] + shared.sum[g][3][head]);
      }
      largest[c] = most;
    }
    Scale(o, factor);
  }

  // Each warpgroup gets the other's half of the channels that it is to finish, as its own half.
  __device__ __forceinline__ void Trade(const float (&o)[kRotaryBlock][kScores],
                                        float (&half)[kHalfBlocks][kScores]) {
    float sent[kHalfBlocks][kScores];
#pragma unroll
    for (int m = 0; m < kHalfBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) {
        const float low = o[m][i];
        const float high = o[kHalfBlocks + m][i];
        half[m][i] = group == 0 ? +low : +high;
        sent[m][i] = group == 0 ? +high : +low;
      }
    }
    float* const place = shared.traded + threadIdx.x % 128;
    for (int receiver = 0; receiver < kConsumers; ++receiver) {
      if (group != receiver) {
#pragma unroll
        for (int i = 0; i < kHalfBlocks * kScores; ++i)
          place[i * 128] = sent[i / kScores][i % kScores];
      }
      MeetAll();
      if (group == receiver) {
#pragma unroll
        for (int i = 0; i < kHalfBlocks * kScores; ++i)
          half[i / kScores][i % kScores] += place[i * 128];
      }
      MeetAll();
    }
  }

  // Calls put(column, channel, value) for what this warpgroup finishes.
  template <class Put>
  __device__ __forceinline__ void Each(const float (&half)[kHalfBlocks][kScores], Put put) const {
    const int first = group * kHalfChannels + warp * 16 + lane / 4;
#pragma unroll
    for (int m = 0; m < kHalfBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        put(ColumnOf(i), first + m * kBlockColumns + i / 2 % 2 * 8, half[m][i]);
    }
  }

  __device__ __forceinline__ void FinishPart(const Part& part, float (&o)[kRotaryBlock][kScores]) {
    float weight[kColumns];
    Align(o, weight);
    float half[kHalfBlocks][kScores];
    Trade(o, half);
    if (results.Whole(part)) {
      __nv_bfloat16* const out = results.Out(part.sequence);
      Each(half, [&](int column, int channel, float value) {
        out[HeadOf(column) * kLatentChannels + channel] = __float2bfloat16(value / weight[column]);
      });
      return;
    }
    PartResult<kHeads>& left = results.Share(part);
    Each(half,
         [&](int column, int channel, float value) { left.sum[HeadOf(column)][channel] = value; });
    if (group != 0 || warp != 0 || lane >= 4) return;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      left.largest[HeadOf(c)] = largest[c] * unit;
      left.weight[HeadOf(c)] = weight[c];
    }
  }

  __device__ void Run() {
    const int steps = results.split.end - results.split.first;
    for (int step = 0; step < steps; ++part_number) {
      float o[kRotaryBlock][kScores];
      const Part part = RunPart(step, o);
      FinishPart(part, o);
      step += part.Units(results.split);
    }
    results.Merge();
  }
};

}  // namespace moecast::kernels::mla
