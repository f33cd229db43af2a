// The two warpgroups that multiply. They take turns at the scores, a step each, and share the
// result: each has 256 of its 512 channels.
#pragma once

#include "kernels/ops/attend_prefill/online_softmax.cuh"
#include "kernels/ops/mla/merge.cuh"
#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/stage_latents.cuh"
#include "kernels/ops/mla/task.cuh"
#include "kernels/ops/ptx_wgmma.cuh"

namespace moecast::kernels::mla {

template <int kRows>
struct Consumer {
  using Shape = Geometry<kRows>;
  static constexpr int kStages = Shape::kStages;
  static constexpr int kTokens = Shape::kTokens;
  static constexpr int kScores = kTokens / 2;         // of a lane: 64 rows over 128 lanes
  static constexpr int kResults = kHalfChannels / 2;  // likewise
  static constexpr int kRotarySteps = kRotaryChannels / 16;

  Shared<kRows>& shared;
  const Maps& maps;
  const Task& task;
  const Split split;
  const int group;    // warpgroup
  const int row;      // the lane's first, the other is 8 further on
  const bool active;  // the warp's rows are query heads
  Cursor<kStages> cursor;
  int step = 0;
  float sum[2] = {};      // of the lane's rows and columns, at the scale of the last step's largest
  float new_sum[2] = {};  // of the step to come
  uint32_t rotary[kRotarySteps][4];  // of the query, where shared memory has no room
  SharedSequence begun_before;
  SharedSequence ends_later;

  __device__ bool Leads() const { return threadIdx.x == 128; }
  __device__ int Block() const { return static_cast<int>(blockIdx.x) / task.head_groups; }
  __device__ int HeadGroup() const { return static_cast<int>(blockIdx.x) % task.head_groups; }
  __device__ __nv_bfloat16* Out(int sequence) const {
    const int64_t first = static_cast<int64_t>(sequence) * task.args.shape.query_heads;
    return task.args.out + (first + HeadGroup() * kRows) * kLatentChannels;
  }
  __device__ static void Meet() { ptx::NamedBarrierSync(kConsumersMeet, kConsumers * 128); }

  // s = q k^T of a stage, in flight.
  __device__ __forceinline__ void MultiplyKeys(int stage, float (&s)[kScores]) {
    constexpr uint64_t kQueryBlock = kRows * 128 >> 4;
    constexpr uint64_t kKeyBlock = Shape::kTileBytes >> 4;
    const uint64_t a = ptx::TileDescriptor(shared.query);
    const uint64_t b = ptx::TileDescriptor(shared.latents[stage]);
    ptx::HoldRegisters(s);
    ptx::ProductFence();
#pragma unroll
    for (int k = 0; k < Shape::kQueryBlocks * 4; ++k) {
      const uint64_t query = a + k / 4 * kQueryBlock + k % 4 * 2;
      const uint64_t keys = b + k / 4 * kKeyBlock + k % 4 * 2;
      if constexpr (Shape::kFew) {
        ptx::ProductBf16N32(s, query, keys, k > 0);
      } else {
        ptx::ProductBf16N64(s, query, keys, k > 0);
      }
    }
    if constexpr (!Shape::kFew) {
#pragma unroll
      for (int k = 0; k < kRotarySteps; ++k)
        ptx::ProductBf16N64(s, rotary[k], b + kRotaryBlock * kKeyBlock + k * 2, true);
    }
    ptx::ProductCommit();
  }

  // o (+)= weights of this step times its latents, in flight.
  __device__ __forceinline__ void MultiplyLatents(float (&o)[kResults], bool add) {
    const uint64_t a = Shape::kFew ? ptx::TileDescriptor(shared.weights[0]) + step % 2 * 4
                                   : ptx::TileDescriptor(shared.weights[0]) +
                                         step % 2 * (sizeof(shared.weights[0]) >> 4);
    const uint64_t b = ptx::RowsDescriptor(shared.latents[cursor.stage][group * kRotaryBlock / 2],
                                           Shape::kTileBytes);
    ptx::HoldRegisters(o);
    ptx::ProductFence();
#pragma unroll
    for (int k = 0; k < kTokens / 16; ++k)
      ptx::ProductRowsBf16N256(o, a + k * 2, b + k * 128, add || k > 0);
    ptx::ProductCommit();
  }

  // Weights of step `number`, whose scores are in s.
  __device__ __forceinline__ void Soften(int number, int valid, bool first, float (&s)[kScores]) {
    const int half = number % 2;
    attend::RowState state;
    float factor[2];
    if (active) {
      if (!first) {
        state.largest[0] = shared.largest[row];
        state.largest[1] = shared.largest[row + 8];
      }
      if (valid < kTokens) attend::Mask(s, {0, 0}, {valid - 1, valid - 1});
      float seen[2];
      attend::RowMaxima(s, seen);
      attend::Exponentiate(s, seen, task.scale, state, factor);
      new_sum[0] = state.sum[0];
      new_sum[1] = state.sum[1];
    }
    ptx::BarrierWait(&shared.weights_free[half], number / 2 % 2 ^ 1U);
    if (active) {
      StoreWeights(half, s);
      if (threadIdx.x % 4 == 0) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          shared.largest[row + 8 * i] = state.largest[i];
          shared.factor[half][row + 8 * i] = factor[i];
        }
      }
      ptx::SharedWritesFence();
    }
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::BarrierArrive(&shared.weights_ready[half]);
  }

  __device__ __forceinline__ void StoreWeights(int half, const float (&s)[kScores]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int tile_row = row - lane / 4 + lane % 16;
    uint8_t* const tile = shared.weights[Shape::kFew ? 0 : half];
    const int first_chunk = Shape::kFew ? half * 4 : 0;
#pragma unroll
    for (int k = 0; k < kTokens / 16; ++k) {
      uint32_t fragment[4];
      attend::PackStep(s + k * 8, fragment);
      ptx::StoreMatrix(ChunkAt(tile, tile_row, first_chunk + k * 2 + lane / 16), fragment);
    }
  }

  // Brings sums and results to the scale of this step's largest.
  __device__ __forceinline__ void Rescale(float (&o)[kResults], bool first) {
    const float factor[2] = {shared.factor[step % 2][row], shared.factor[step % 2][row + 8]};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] = sum[i] * factor[i] + new_sum[i];
      new_sum[i] = 0;
    }
    if (!first && __any_sync(kWarp, factor[0] != 1 || factor[1] != 1)) attend::ScaleRows(o, factor);
  }

  // One thread. A rotary part that has no place of its own comes by way of the weights'.
  __device__ void LoadQuery(int sequence) {
    ptx::BarrierArriveExpect(&shared.query_full, kBlocks * kRows * 128);
    const int first_row = sequence * task.args.shape.query_heads + HeadGroup() * kRows;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      ptx::LoadBox(b < Shape::kQueryBlocks ? shared.query[b] : shared.weights[0], &maps.query,
                   b * kBlockColumns, first_row, &shared.query_full);
  }

  __device__ __forceinline__ void ReadRotary() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int k = 0; k < kRotarySteps; ++k)
      ptx::LoadMatrix(ChunkAt(shared.weights[0], row - lane / 4 + lane % 16, k * 2 + lane / 16),
                      rotary[k]);
    Meet();  // before the first weights are written there
  }

  // All steps of one sequence in this block. RETURNS: its last step.
  __device__ Step RunPart(float (&o)[kResults]) {
    float s[kScores];
    sum[0] = sum[1] = 0;
    ptx::BarrierWait(&shared.full[cursor.stage], cursor.parity);
    Step now = shared.steps[cursor.stage];
    if (Leads()) LoadQuery(now.sequence);
    ptx::BarrierWait(&shared.query_full, now.part % 2);
    if constexpr (!Shape::kFew) ReadRotary();
    if (step % 2 == group) {
      MultiplyKeys(cursor.stage, s);
      ptx::ProductWait<0>();
      ptx::HoldRegisters(s);
      Soften(step, now.valid, true, s);
    }
    for (bool first = true;; first = false) {
      const Cursor<kStages> next = cursor.Next();
      // Two straight lines of products: the compiler must see which are in flight where.
      if (!now.ends_part && (step + 1) % 2 == group) {
        ptx::BarrierWait(&shared.full[next.stage], next.parity);
        MultiplyKeys(next.stage, s);
        ptx::BarrierWait(&shared.weights_ready[step % 2], step / 2 % 2);
        Rescale(o, first);
        MultiplyLatents(o, !first);
        ptx::ProductWait<1>();
        ptx::HoldRegisters(s);
        Soften(step + 1, shared.steps[next.stage].valid, false, s);
        ptx::ProductWait<0>();
        ptx::HoldRegisters(o);
      } else {
        ptx::BarrierWait(&shared.weights_ready[step % 2], step / 2 % 2);
        Rescale(o, first);
        MultiplyLatents(o, !first);
        ptx::ProductWait<0>();
        ptx::HoldRegisters(o);
      }
      __syncwarp();
      if (threadIdx.x % 32 == 0) {
        ptx::BarrierArrive(&shared.empty[cursor.stage]);
        ptx::BarrierArrive(&shared.weights_free[step % 2]);
      }
      ++step;
      cursor = next;
      if (now.ends_part) return now;
      ptx::BarrierWait(&shared.full[cursor.stage], cursor.parity);
      now = shared.steps[cursor.stage];
    }
  }

  // Writes the result of a sequence that is this block's alone, or leaves this block's part of it.
  __device__ void FinishPart(const Step& last, float (&o)[kResults]) {
    float weight[2];
    float largest[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float mine = attend::QuadSum(sum[i]);
      if (threadIdx.x % 4 == 0) shared.sum[group][row + 8 * i] = mine;
    }
    Meet();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      weight[i] = shared.sum[0][row + 8 * i] + shared.sum[1][row + 8 * i];
      largest[i] = shared.largest[row + 8 * i];
    }
    Meet();  // before the next sequence overwrites them
    const bool begins = last.begin >= split.first;
    const bool ends = last.end <= split.end;
    if (!begins || !ends) {
      SharedSequence& shared_sequence = begins ? ends_later : begun_before;
      const int first = OwnerOf(split.units, split.blocks, last.begin);
      shared_sequence = {last.sequence, first,
                         OwnerOf(split.units, split.blocks, last.end - 1) - first + 1};
    }
    if (!active) return;
    const int column = group * kHalfChannels + static_cast<int>(threadIdx.x) % 4 * 2;
    if (begins && ends) {
      const float factor[2] = {1 / weight[0], 1 / weight[1]};
      attend::ScaleRows(o, factor);
      StoreOut(Out(last.sequence) + column, o);
    } else {
      StorePart(PartOf(Block(), begins), column, weight, largest, o);
    }
  }

  __device__ void StoreOut(__nv_bfloat16* out, const float (&o)[kResults]) const {
#pragma unroll
    for (int i = 0; i < kResults; i += 2)
      *reinterpret_cast<__nv_bfloat162*>(out + (row + i / 2 % 2 * 8) * kLatentChannels +
                                         i / 4 * 8) = __floats2bfloat162_rn(o[i], o[i + 1]);
  }

  __device__ Part<kRows>& PartOf(int block, bool begins) const {
    const Workspace<kRows> workspace(task.args.workspace, static_cast<int>(gridDim.x));
    return workspace.parts[2 * (block * task.head_groups + HeadGroup()) + (begins ? 1 : 0)];
  }

  __device__ void StorePart(Part<kRows>& part, int column, const float (&weight)[2],
                            const float (&largest)[2], const float (&o)[kResults]) const {
#pragma unroll
    for (int i = 0; i < kResults; i += 2)
      *reinterpret_cast<float2*>(&part.sum[row + i / 2 % 2 * 8][column + i / 4 * 8]) =
          make_float2(o[i], o[i + 1]);
    if (group != 0 || threadIdx.x % 4 != 0) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      part.largest[row + 8 * i] = largest[i];
      part.weight[row + 8 * i] = weight[i];
    }
  }

  __device__ Meeting& MeetingOf(const SharedSequence& met) const {
    const Workspace<kRows> workspace(task.args.workspace, static_cast<int>(gridDim.x));
    return workspace.meetings[met.first * task.head_groups + HeadGroup()];
  }

  __device__ void MergeWithOthers(const SharedSequence& met) {
    if (met.sequence < 0) return;
    if (Leads()) WaitForAll(MeetingOf(met), met.count);
    Meet();
    MergeSlice<kRows>([&](int i) -> const Part<kRows>& { return PartOf(met.first + i, i == 0); },
                      Block() - met.first, met.count, static_cast<int>(threadIdx.x) / 32 - 4,
                      kConsumerWarps, task.scale, Out(met.sequence));
    Meet();
    if (Leads()) Leave(MeetingOf(met), met.count);
  }

  __device__ void Run() {
    while (step < split.end - split.first) {
      float o[kResults];
      const Step last = RunPart(o);
      FinishPart(last, o);
    }
    __threadfence();
    Meet();
    if (Leads()) {
      if (begun_before.sequence >= 0) Arrive(MeetingOf(begun_before));
      if (ends_later.sequence >= 0) Arrive(MeetingOf(ends_later));
    }
    MergeWithOthers(begun_before);
    MergeWithOthers(ends_later);
  }
};

}  // namespace moecast::kernels::mla
