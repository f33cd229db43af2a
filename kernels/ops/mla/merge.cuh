// Results of a sequence that several blocks share: every block leaves its part in global memory,
// waits for the others, and merges its slice of the result. Softmaxes over disjoint tokens merge
// with weights 2^(largest - largest of all).                             [FlashAttention, 3.1]
#pragma once

#include <cuda_bf16.h>

#include "kernels/ops/mla/pipeline.cuh"

namespace moecast::kernels::mla {

// What a block leaves of kRows rows.
template <int kRows>
struct Part {
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
  Part<kRows>* parts;  // [blocks][2]: of a sequence begun before, of one begun here
  Meeting* meetings;   // [blocks]

  __device__ Workspace(void* memory, int blocks)
      : parts(static_cast<Part<kRows>*>(memory)),
        meetings(reinterpret_cast<Meeting*>(parts + 2 * blocks)) {}
};

// A sequence that this block shares with others.
struct SharedSequence {
  int32_t sequence = -1;  // -1: there is none
  int32_t first = 0;      // block it begins in
  int32_t count = 0;      // of blocks
};

// The softmax of one row over all parts, and eight of its sums, spread over a warp.
//   largest, weight, sum   of this lane's parts
struct MergedChunk {
  float4 value;

  template <class PartOf>
  __device__ MergedChunk(PartOf part_of, int count, int row, int column, float scale) {
    constexpr int kPartLanes = 16;  // two lanes read 32 bytes of a part together
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float largest = -INFINITY;
    float weight = 0;
    float sum[4] = {};
#pragma unroll 4
    for (int i = lane / 2; i < count; i += kPartLanes) {
      const auto& part = part_of(i);
      const float4 read = *reinterpret_cast<const float4*>(&part.sum[row][column + lane % 2 * 4]);
      const float seen = part.largest[row];
      const float part_weight = part.weight[row];
      const float most = fmaxf(largest, seen);
      const float old_factor = ptx::Exp2((largest - most) * scale);
      const float factor = ptx::Exp2((seen - most) * scale);
      largest = most;
      weight = weight * old_factor + part_weight * factor;
      sum[0] = sum[0] * old_factor + read.x * factor;
      sum[1] = sum[1] * old_factor + read.y * factor;
      sum[2] = sum[2] * old_factor + read.z * factor;
      sum[3] = sum[3] * old_factor + read.w * factor;
    }
    float most = largest;
#pragma unroll
    for (int step = 2; step < 32; step *= 2) most = fmaxf(most, __shfl_xor_sync(kWarp, most, step));
    const float factor = ptx::Exp2((largest - most) * scale);  // 0 for a lane without parts
    weight = AddLanes(weight * factor);
    value = {AddLanes(sum[0] * factor) / weight, AddLanes(sum[1] * factor) / weight,
             AddLanes(sum[2] * factor) / weight, AddLanes(sum[3] * factor) / weight};
  }

 private:
  __device__ static float AddLanes(float x) {
#pragma unroll
    for (int step = 2; step < 32; step *= 2) x += __shfl_xor_sync(kWarp, x, step);
    return x;
  }
};

// This block's slice of a shared sequence: `place` of `count`, by chunks of eight columns.
//   warp, warps  that merge
template <int kRows, class PartOf>
__device__ void MergeSlice(PartOf part_of, int place, int count, int warp, int warps, float scale,
                           __nv_bfloat16* out) {
  constexpr int kRowChunks = kLatentChannels / 8;
  constexpr int kChunks = kRows * kRowChunks;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int end = ShareStart(kChunks, count, place + 1);
  for (int chunk = ShareStart(kChunks, count, place) + warp; chunk < end; chunk += warps) {
    const int row = chunk / kRowChunks;
    const int column = chunk % kRowChunks * 8;
    const MergedChunk merged(part_of, count, row, column, scale);
    if (lane >= 2) continue;
    const __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(merged.value.x, merged.value.y),
                                     __floats2bfloat162_rn(merged.value.z, merged.value.w)};
    *reinterpret_cast<uint2*>(out + row * kLatentChannels + column + lane * 4) =
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

}  // namespace moecast::kernels::mla
