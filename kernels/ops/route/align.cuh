// Alignment: the kept slots of the batch, compacted by expert, rows of one expert in token order.
// Each block of the cluster knows its own tokens as one bit per expert; the blocks tell each other
// how many rows of every expert they have, and each places its own.
#pragma once

#include "kernels/ops/route/cluster.cuh"
#include "kernels/ops/route/rank_experts.cuh"
#include "kernels/ops/route/route.h"
#include "kernels/ops/route/select_shared.cuh"

namespace moecast::kernels::route {

/// Rows and active experts in one number, so that one scan counts both.
inline constexpr unsigned kRowBits = 20;
inline constexpr unsigned kRowMask = (1U << kRowBits) - 1U;
static_assert(kMaxTokens * kMaxTopK <= 1 << kRowBits, "at most kRowMask kept slots but one");

/// Sum of `value` over the threads before this one; `total` over all. Two barriers.
__device__ inline unsigned ExclusiveScan(unsigned value, unsigned* warp_totals, unsigned& total) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  unsigned inclusive = value;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const unsigned below = __shfl_up_sync(kAll, inclusive, static_cast<unsigned>(distance));
    if (Lane() >= distance) inclusive += below;
  }
  if (Lane() == 31) warp_totals[warp] = inclusive;
  __syncthreads();
  const unsigned of_warp = Lane() < kSelectWarps ? warp_totals[Lane()] : 0U;
  total = __reduce_add_sync(kAll, of_warp);
  return __reduce_add_sync(kAll, Lane() < warp ? of_warp : 0U) + inclusive - value;
}

/// First rows of every expert, from the cluster's counts; the first block lists the active experts.
__device__ inline void PlaceExperts(const ExpertShape& shape, const RouteBuffers& buffers,
                                    const SelectShared& shared) {
  const int expert = static_cast<int>(threadIdx.x);
  unsigned before = 0;
  unsigned all = 0;
  if (expert < shape.experts) {
    const int me = BlockInCluster();
    const int blocks = ClusterSize();
#pragma unroll kSelectCluster
    for (int block = 0; block < blocks; ++block) {
      const unsigned rows = LoadFrom(block, &shared.rows[expert]);
      all += rows;
      if (block < me) before += rows;
    }
  }
  unsigned total = 0;
  const unsigned place =
      ExclusiveScan(all + (all > 0 ? 1U << kRowBits : 0U), shared.warp_totals, total);
  if (expert < shape.experts) shared.first_row[expert] = (place & kRowMask) + before;
  if (BlockInCluster() != 0) return;
  if (all > 0) {
    buffers.active_experts[place >> kRowBits] = expert;
    buffers.offsets[place >> kRowBits] = static_cast<int>(place & kRowMask);
  }
  if (threadIdx.x == 0) {
    buffers.offsets[total >> kRowBits] = static_cast<int>(total & kRowMask);
    *buffers.active_count = static_cast<int>(total >> kRowBits);
  }
}

/// Gives every slot of this block's tokens its row.
__device__ inline void PlaceSlots(const ExpertShape& shape, const RouteBuffers& buffers,
                                  const SelectShared& shared, int first_token, int tokens) {
  for (int i = static_cast<int>(threadIdx.x); i < tokens * shape.top_k; i += kSelectThreads) {
    const int expert = shared.chosen[i];
    const int token = i / shape.top_k;
    int row = -1;
    if (expert < shape.experts) {
      const unsigned* bits = shared.token_bits + expert * shared.words;
      row = static_cast<int>(shared.first_row[expert]);
      for (int w = 0; w < token / 32; ++w) row += __popc(bits[w]);
      row += __popc(bits[token / 32] & ((1U << (token % 32)) - 1U));
      buffers.slot_token[row] = first_token + token;
    }
    buffers.position_of_slot[first_token * shape.top_k + i] = row;
  }
}

/// Needs shared.chosen and shared.token_bits of this block, written before a block barrier. Ends in
/// the first half of a cluster barrier: other blocks may still be reading this one's counts.
__device__ inline void Align(const ExpertShape& shape, const RouteBuffers& buffers,
                             const SelectShared& shared, int first_token, int tokens) {
  const int expert = static_cast<int>(threadIdx.x);
  if (expert < shape.experts) {
    unsigned rows = 0;
    for (int w = 0; w < shared.words; ++w)
      rows += static_cast<unsigned>(__popc(shared.token_bits[expert * shared.words + w]));
    shared.rows[expert] = rows;
  }
  ClusterArrive();
  ClusterWait();
  PlaceExperts(shape, buffers, shared);
  ClusterArrive();
  __syncthreads();
  PlaceSlots(shape, buffers, shared, first_token, tokens);
}

}  // namespace moecast::kernels::route
