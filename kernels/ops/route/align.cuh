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

/// Rows of a thread's expert: in the whole batch, and those of the blocks before this one.
struct ExpertRows {
  unsigned all = 0;
  unsigned before = 0;
};

/// From the counts of the cluster's blocks.
template <int kBlocks>
__device__ ExpertRows RowsInCluster(const ExpertShape& shape, const SelectShared& shared,
                                    unsigned own) {
  const int expert = static_cast<int>(threadIdx.x);
  ExpertRows sum{.all = own};
  if constexpr (kBlocks > 1) {
    if (expert >= shape.experts) return sum;
    unsigned rows[kBlocks];
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
      rows[block] = LoadFrom(block, &shared.rows[expert]);
    sum.all = 0;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      sum.all += rows[block];
      if (block < BlockInCluster()) sum.before += rows[block];
    }
  }
  return sum;
}

/// First row of this block's rows of every expert; the first block lists the active experts.
__device__ inline void PlaceExperts(const ExpertShape& shape, const RouteBuffers& buffers,
                                    const SelectShared& shared, const ExpertRows& rows,
                                    bool is_first) {
  const int expert = static_cast<int>(threadIdx.x);
  unsigned total = 0;
  const unsigned place =
      ExclusiveScan(rows.all + (rows.all > 0 ? 1U << kRowBits : 0U), shared.warp_totals, total);
  if (expert < shape.experts) shared.first_row[expert] = (place & kRowMask) + rows.before;
  __syncthreads();
  if (!is_first) return;
  if (rows.all > 0) {
    buffers.active_experts[place >> kRowBits] = expert;
    buffers.offsets[place >> kRowBits] = static_cast<int>(place & kRowMask);
  }
  if (threadIdx.x == 0) {
    buffers.offsets[total >> kRowBits] = static_cast<int>(total & kRowMask);
    *buffers.active_count = static_cast<int>(total >> kRowBits);
  }
}

/// Rows of this block that a thread's expert has.
__device__ inline unsigned RowsInBlock(const ExpertShape& shape, const SelectShared& shared) {
  const int expert = static_cast<int>(threadIdx.x);
  unsigned rows = 0;
  if (expert < shape.experts) {
    for (int w = 0; w < shared.words; ++w)
      rows += static_cast<unsigned>(__popc(shared.token_bits[expert * shared.words + w]));
  }
  return rows;
}

/// Gives the slots of this block's tokens their rows. A warp per token.
__device__ inline void PlaceSlots(const ExpertShape& shape, const RouteBuffers& buffers,
                                  const SelectShared& shared, int first_token, int tokens) {
  if (Lane() >= shape.top_k) return;
  for (int token = static_cast<int>(threadIdx.x) / 32; token < tokens; token += kSelectWarps) {
    const int local = token * shape.top_k + Lane();
    const int expert = shared.chosen[local];
    int row = -1;
    if (expert < shape.experts) {
      const unsigned* bits = shared.token_bits + expert * shared.words;
      row = static_cast<int>(shared.first_row[expert]);
      for (int w = 0; w < token / 32; ++w) row += __popc(bits[w]);
      row += __popc(bits[token / 32] & ((1U << (token % 32)) - 1U));
      buffers.slot_token[row] = first_token + token;
    }
    buffers.position_of_slot[first_token * shape.top_k + local] = row;
  }
}

/// Writes what this block chose.
__device__ inline void StoreChosen(const ExpertShape& shape, const RouteBuffers& buffers,
                                   const SelectShared& shared, int first_token, int tokens) {
  const int first = first_token * shape.top_k;
  for (int i = static_cast<int>(threadIdx.x); i < tokens * shape.top_k; i += kSelectThreads) {
    buffers.expert_of_slot[first + i] = shared.chosen[i];
    buffers.weight_of_slot[first + i] = shared.weights[i];
  }
}

/// Needs chosen, weights and token_bits of this block, written before a block barrier. Nothing is
/// written to global memory before the cluster has met: the meeting would wait for it.
template <int kBlocks>
__device__ void Align(const ExpertShape& shape, const RouteBuffers& buffers,
                      const SelectShared& shared, int first_token, int tokens) {
  const int expert = static_cast<int>(threadIdx.x);
  const unsigned own = RowsInBlock(shape, shared);
  if (expert < shape.experts) shared.rows[expert] = own;
  if (kBlocks > 1) {
    ClusterArrive();
    ClusterWait();
  }
  PlaceExperts(shape, buffers, shared, RowsInCluster<kBlocks>(shape, shared, own),
               kBlocks == 1 || BlockInCluster() == 0);
  if (kBlocks > 1) ClusterArriveRelaxed();  // the scan needed what was read of the others
  PlaceSlots(shape, buffers, shared, first_token, tokens);
  StoreChosen(shape, buffers, shared, first_token, tokens);
  if (kBlocks > 1) ClusterWait();  // the others have read this block
}

}  // namespace moecast::kernels::route
