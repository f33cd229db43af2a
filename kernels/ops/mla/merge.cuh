// Results of a sequence that several blocks share: every block leaves its part in global memory,
// waits for the others, and merges its slice of the result. Softmaxes over disjoint tokens merge
// with weights 2^(largest - largest of all).                             [Dao22, 3.1]
#pragma once

#include <cuda_bf16.h>

#include "kernels/ops/mla/pipeline.cuh"
#include "kernels/ops/mla/task.cuh"

namespace moecast::kernels::mla {

// What a block leaves of kRows rows.
template <int kRows>
struct PartResult {
  float sum[kRows][kLatentChannels];
  float largest[kRows];  // of the products, unscaled
  float weight[kRows];
};

// Blocks that share a sequence count in the entry of the first of them.
struct Meeting {
  uint32_t arrived;
  uint32_t left;
};

// Device memory behind AttendMlaArgs::workspace; blocks are counted with their head groups.
template <int kRows>
struct Workspace {
  PartResult<kRows>* parts;  // [blocks][2]: of a sequence begun before, of one begun here
  Meeting* meetings;         // [blocks]

  __device__ Workspace(void* memory, int blocks)
      : parts(static_cast<PartResult<kRows>*>(memory)),
        meetings(reinterpret_cast<Meeting*>(parts + 2 * blocks)) {}
};

// A sequence that this block shares with others.
struct SharedSequence {
  int32_t sequence = -1;  // -1: there is none
  int32_t first = 0;      // block it begins in
  int32_t count = 0;      // of blocks
};

// Four columns of a row, merged over some parts.
struct Merged {
  float largest = -INFINITY;
  float weight = 0;
  float sum[4] = {};

  // REQUIRES: one of both has a part.
  __device__ __forceinline__ void Add(const Merged& other, float scale) {
    const float most = fmaxf(largest, other.largest);
    const float factor = ptx::Exp2((largest - most) * scale);
    const float other_factor = ptx::Exp2((other.largest - most) * scale);
    largest = most;
    weight = weight * factor + other.weight * other_factor;
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] = sum[i] * factor + other.sum[i] * other_factor;
  }
  [[nodiscard]] __device__ __forceinline__ Merged FromLane(int distance) const {
    Merged other{
        __shfl_xor_sync(kWarp, largest, distance), __shfl_xor_sync(kWarp, weight, distance), {}};
#pragma unroll
    for (int i = 0; i < 4; ++i) other.sum[i] = __shfl_xor_sync(kWarp, sum[i], distance);
    return other;
  }
};

// A lane's parts: first, first + step, and so on. Four are read at once, the last of all in place
// of those that are not there.
template <class PartOf>
__device__ __forceinline__ Merged MergeParts(PartOf part_of, int first, int step, int count,
                                             int row, int column, float scale) {
  constexpr int kAtOnce = 4;
  Merged merged;
#pragma unroll 1
  for (; first < count; first += kAtOnce * step) {
    Merged read[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int number = first + i * step;
      const auto& part = part_of(min(number, count - 1));
      const float4 sums = *reinterpret_cast<const float4*>(&part.sum[row][column]);
      read[i] = {number < count ? part.largest[row] : -INFINITY,
                 part.weight[row],
                 {sums.x, sums.y, sums.z, sums.w}};
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) merged.Add(read[i], scale);
  }
  return merged;
}

// This block's slice of a shared sequence: `place` of `count`, four columns a lane. Where many
// blocks share, lanes share their parts. Loops stay loops: what runs once in a launch is fetched
// from L2 first, and that takes longer than the loads.
//   warp, warps  that merge
template <int kRows, class PartOf>
__device__ void MergeSlice(PartOf part_of, int place, int count, int warp, int warps, float scale,
                           __nv_bfloat16* out) {
  constexpr int kRowQuads = kLatentChannels / 4;
  constexpr int kQuads = kRows * kRowQuads;
  int part_lanes = 1;
  while (part_lanes < 16 && part_lanes * 4 < count) part_lanes *= 2;
  const int quad_lanes = 32 / part_lanes;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int end = ShareStart(kQuads, count, place + 1);
#pragma unroll 1
  for (int base = ShareStart(kQuads, count, place) + warp * quad_lanes; base < end;
       base += warps * quad_lanes) {
    const int quad = min(base + lane % quad_lanes, end - 1);
    const int row = quad / kRowQuads;
    const int column = quad % kRowQuads * 4;
    Merged merged = MergeParts(part_of, lane / quad_lanes, part_lanes, count, row, column, scale);
#pragma unroll 1
    for (int distance = quad_lanes; distance < 32; distance *= 2)
      merged.Add(merged.FromLane(distance), scale);
    if (lane >= quad_lanes || base + lane >= end) continue;
    const float factor = 1 / merged.weight;
    const __nv_bfloat162 pairs[2] = {
        __floats2bfloat162_rn(merged.sum[0] * factor, merged.sum[1] * factor),
        __floats2bfloat162_rn(merged.sum[2] * factor, merged.sum[3] * factor)};
    *reinterpret_cast<uint2*>(out + row * kLatentChannels + column) =
        *reinterpret_cast<const uint2*>(pairs);
  }
}

// One thread, after the block's part is written: counts the block in.
__device__ inline void Arrive(Meeting& meeting) {
  __threadfence();
  atomicAdd(&meeting.arrived, 1U);
}
// One thread: returns when all have come.
__device__ inline void WaitForAll(Meeting& meeting, int count) {
  while (ptx::LoadAcquire(&meeting.arrived) < static_cast<uint32_t>(count)) {
  }
}
// One thread, when the block has read all it needs: the last one clears the meeting.
__device__ inline void Leave(Meeting& meeting, int count) {
  if (atomicAdd(&meeting.left, 1U) + 1 < static_cast<uint32_t>(count)) return;
  meeting.arrived = 0;
  meeting.left = 0;
}

// What a block owes to other blocks: the sequences it shares, found out on the way.
struct Owed {
  SharedSequence begun_before;
  SharedSequence ends_later;
};

// Where the multiplying warps of a block leave results.
template <int kRows>
struct Results {
  const Task& task;
  const Split& split;
  Owed& owed;  // in shared memory

  __device__ static bool Leads() { return threadIdx.x == 128; }
  __device__ int Block() const { return static_cast<int>(blockIdx.x) / task.head_groups; }
  __device__ int HeadGroup() const { return static_cast<int>(blockIdx.x) % task.head_groups; }
  // Row of the query matrix, and of `out`, that a sequence's first head of this block has.
  __device__ int64_t FirstRow(int sequence) const {
    return static_cast<int64_t>(sequence) * task.args.shape.query_heads + HeadGroup() * kRows;
  }
  __device__ __nv_bfloat16* Out(int sequence) const {
    return task.args.out + FirstRow(sequence) * kLatentChannels;
  }
  __device__ PartResult<kRows>& PlaceOf(int block, bool begins) const {
    const Workspace<kRows> workspace(task.args.workspace, static_cast<int>(gridDim.x));
    return workspace.parts[2 * (block * task.head_groups + HeadGroup()) + (begins ? 1 : 0)];
  }

  [[nodiscard]] __device__ bool Whole(const Part& part) const {
    return part.begin >= split.first && part.end <= split.end;
  }
  // RETURNS: where this block leaves its part of a sequence that is not whole.
  __device__ PartResult<kRows>& Share(const Part& part) {
    const bool begins = part.begin >= split.first;
    if (Leads()) {
      const int first = OwnerOf(split.units, split.blocks, part.begin);
      (begins ? owed.ends_later : owed.begun_before) = {
          part.sequence, first, OwnerOf(split.units, split.blocks, part.end - 1) - first + 1};
    }
    return PlaceOf(Block(), begins);
  }

  // All multiplying warps, when all parts are written.
  __device__ void Merge() {
    __threadfence();
    MeetAll();
    if (Leads()) {
      if (owed.begun_before.sequence >= 0) Arrive(MeetingOf(owed.begun_before));
      if (owed.ends_later.sequence >= 0) Arrive(MeetingOf(owed.ends_later));
    }
#pragma unroll 1
    for (int i = 0; i < 2; ++i) MergeWithOthers(i == 0 ? owed.begun_before : owed.ends_later);
  }

 private:
  __device__ Meeting& MeetingOf(const SharedSequence& met) const {
    const Workspace<kRows> workspace(task.args.workspace, static_cast<int>(gridDim.x));
    return workspace.meetings[met.first * task.head_groups + HeadGroup()];
  }

  __device__ void MergeWithOthers(const SharedSequence& met) {
    if (met.sequence < 0) return;
    if (Leads()) WaitForAll(MeetingOf(met), met.count);
    MeetAll();
    MergeSlice<kRows>(
        [&](int i) -> const PartResult<kRows>& { return PlaceOf(met.first + i, i == 0); },
        Block() - met.first, met.count, static_cast<int>(threadIdx.x) / 32 - 4, kConsumerWarps,
        task.scale, Out(met.sequence));
    MeetAll();
    if (Leads()) Leave(MeetingOf(met), met.count);
  }
};

}  // namespace moecast::kernels::mla
