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
template <int kBlocks>
__device__ void PlaceExperts(const ExpertShape& shape, const RouteBuffers& buffers,
                             const SelectShared& shared, unsigned own) {
  const int expert = static_cast<int>(threadIdx.x);
  const int me = kBlocks > 1 ? BlockInCluster() : 0;
  unsigned before = 0;
  unsigned all = own;
  if (kBlocks > 1 && expert < shape.experts) {
    unsigned rows[kBlocks];
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
      rows[block] = LoadFrom(block, &shared.rows[expert]);
    all = 0;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      all += rows[block];
      if (block < me) before += rows[block];
    }
  }
  unsigned total = 0;
  const unsigned place =
      ExclusiveScan(all + (all > 0 ? 1U << kRowBits : 0U), shared.warp_totals, total);
  if (kBlocks > 1) ClusterArriveRelaxed();  // the scan needed what was read of the others
  if (expert < shape.experts) shared.first_row[expert] = (place & kRowMask) + before;
  __syncthreads();
  if (me != 0) return;
  if (all > 0) {
    buffers.active_experts[place >> kRowBits] = expert;
    buffers.offsets[place >> kRowBits] = static_cast<int>(place & kRowMask);
  }
  if (threadIdx.x == 0) {
    buffers.offsets[total >> kRowBits] = static_cast<int>(total & kRowMask);
    *buffers.active_count = static_cast<int>(total >> kRowBits);
  }
}

/// Writes the slots of this block's tokens, with their rows. A warp per token.
__device__ inline void PlaceSlots(const ExpertShape& shape, const RouteBuffers& buffers,
                                  const SelectShared& shared, int first_token, int tokens) {
  if (Lane() >= shape.top_k) return;
  for (int token = static_cast<int>(threadIdx.x) / 32; token < tokens; token += kSelectWarps) {
    const int local = token * shape.top_k + Lane();
    const int slot = first_token * shape.top_k + local;
    const int expert = shared.chosen[local];
    int row = -1;
    if (expert < shape.experts) {
      const unsigned* bits = shared.token_bits + expert * shared.words;
      row = static_cast<int>(shared.first_row[expert]);
      for (int w = 0; w < token / 32; ++w) row += __popc(bits[w]);
      row += __popc(bits[token / 32] & ((1U << (token % 32)) - 1U));
      buffers.slot_token[row] = first_token + token;
    }
    buffers.position_of_slot[slot] = row;
    buffers.expert_of_slot[slot] = expert;
    buffers.weight_of_slot[slot] = shared.weights[local];
  }
}

/// Needs chosen, weights and token_bits of this block, written before a block barrier. Nothing is
/// written to global memory before the cluster has met: the meeting would wait for it.
template <int kBlocks>
__device__ void Align(const ExpertShape& shape, const RouteBuffers& buffers,
                      const SelectShared& shared, int first_token, int tokens) {
  const int expert = static_cast<int>(threadIdx.x);
  unsigned rows = 0;
  if (expert < shape.experts) {
    for (int w = 0; w < shared.words; ++w)
      rows += static_cast<unsigned>(__popc(shared.token_bits[expert * shared.words + w]));
    shared.rows[expert] = rows;
  }
  if (kBlocks > 1) {
    ClusterArrive();
    ClusterWait();
  }
  PlaceExperts<kBlocks>(shape, buffers, shared, rows);
  PlaceSlots(shape, buffers, shared, first_token, tokens);
  if (kBlocks > 1) ClusterWait();  // the others have read this block
}

}  // namespace moecast::kernels::route
