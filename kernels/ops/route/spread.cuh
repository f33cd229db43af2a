// Many tokens are chosen for by blocks that do not know each other, a warp per token: each leaves
// behind how many rows of every expert it has. A second launch of the same blocks reads all of
// these counts and gives the slots their rows.
#pragma once

#include <cstddef>

#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/align.cuh"
#include "kernels/ops/route/choose.cuh"

namespace moecast::kernels::route {

/// From this many tokens on, where no rule asks the whole batch before it chooses.
inline constexpr int kFewestSpreadTokens = 257;
inline constexpr int kFewestOfBlock = 16;

/// Rows of an expert in a block.
using RowCount = uint16_t;

/// Tokens of a block: few while there are multiprocessors without one, then twice as many, because
/// every block reads the counts of all.
__host__ __device__ constexpr int TokensOfBlock(int tokens) {
  constexpr int kMany = 2048;
  return tokens <= kMany ? kFewestOfBlock : 2 * kFewestOfBlock;
}
__host__ __device__ constexpr bool Spreads(const ExpertShape& shape, const BatchRule& batch) {
  return shape.tokens >= kFewestSpreadTokens && batch.kind == BatchKind::kNone;
}
/// Room for the counts of a launch, [blocks][LogitPitch]; more tokens never take less.
__host__ __device__ constexpr size_t SpreadCounts(const ExpertShape& shape) {
  return static_cast<size_t>((shape.tokens + kFewestOfBlock - 1) / kFewestOfBlock) *
         static_cast<size_t>(LogitPitch(shape.experts));
}

/// This block's run of the tokens.
struct BlockTokens {
  int first;
  int count;
};
__device__ inline BlockTokens TokensHere(int tokens) {
  const int share = TokensOfBlock(tokens);
  const int first = static_cast<int>(blockIdx.x) * share;
  return {.first = first, .count = min(share, tokens - first)};
}

__device__ inline void ClearTokenBits(const ExpertShape& shape, const SelectShared& shared) {
  for (int i = static_cast<int>(threadIdx.x); i < shape.experts * shared.words; i += kSelectThreads)
    shared.token_bits[i] = 0;
}

/// Every thread's expert's rows, from the counts of all blocks: threads that have the same expert
/// take turns. Ends in a block barrier.
__device__ inline ExpertRows RowsOfBlocks(const ExpertShape& shape, const SelectShared& shared,
                                          const RowCount* counts) {
  const int pitch = LogitPitch(shape.experts);
  const int blocks = static_cast<int>(gridDim.x);
  const int turns = kSelectThreads / pitch;
  const int thread = static_cast<int>(threadIdx.x);
  const int turn = thread / pitch;
  const int expert = thread % pitch;
  if (turn < turns && expert < shape.experts) {
    ExpertRows sum;
#pragma unroll 8
    for (int block = turn; block < blocks; block += turns) {
      const unsigned rows = __ldcg(counts + static_cast<size_t>(block) * pitch + expert);
      sum.all += rows;
      sum.before += block < static_cast<int>(blockIdx.x) ? rows : 0U;
    }
    atomicAdd(&shared.rows[expert], sum.all);
    atomicAdd(&shared.first_row[expert], sum.before);
  }
  __syncthreads();
  if (thread >= shape.experts) return {};
  return {.all = shared.rows[thread], .before = shared.first_row[thread]};
}

}  // namespace moecast::kernels::route
