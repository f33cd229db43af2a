// A block multiplies a few 16-expert tiles with a few 8-token tiles over one split of K, which its
// eight warps share; their sums meet in shared memory. Of many tokens it takes several rounds, with
// the weights in registers all the while.
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/route/gate.cuh"

namespace moecast::kernels {
namespace {

constexpr int kBlockK = 32;
constexpr int kTileElements = kFragmentRows * kBlockK;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kBlocksPerWarp = 4;  // column blocks of one warp
static_assert(GateSplits(kWarps * kBlocksPerWarp * kBlockK) == 1);
static_assert(GateSplits(kWarps * kBlocksPerWarp * kBlockK + 1) == 2);

template <int kRowTiles>
constexpr int kPitch = kRowTiles* kFragmentRows + 1;  // spreads the sums of a token over the banks

template <int kRowTiles, int kTokenTiles>
constexpr size_t kSharedBytes = sizeof(float) * kWarps* kTokenTiles * 8 * kPitch<kRowTiles>;

struct Unit {
  int expert_tile;  // first 16-expert tile
  int split;
  int token;  // first token
};

template <int kRowTiles, int kTokenTiles>
__device__ Unit UnitOfBlock(const ExpertShape& shape, int rounds) {
  const int tiles = LogitPitch(shape.experts) / kFragmentRows;
  const int row_groups = (tiles + kRowTiles - 1) / kRowTiles;
  const int splits = GateSplits(shape.hidden);
  const int block = static_cast<int>(blockIdx.x);
  return {block % row_groups * kRowTiles, block / row_groups % splits,
          block / (row_groups * splits) * rounds * kTokenTiles * 8};
}

// Stores this warp's sums; out[token * pitch + row].
template <int kRowTiles, int kTokenTiles>
__device__ void StoreSums(const float (&acc)[kRowTiles][kTokenTiles][4], float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = j * 8 + lane % 4 * 2 + i % 2;
        out[token * kPitch<kRowTiles> + m * kFragmentRows + lane / 4 + i / 2 * 8] = acc[m][j][i];
      }
    }
  }
}

// A lane's share of the block's weights: its mma operands of every column block and expert tile;
// zeros past the end of K.
template <int kRowTiles>
__device__ __forceinline__ void LoadWeights(const ExpertShape& shape, const __nv_bfloat16* gate,
                                            int expert_tile, int first_block,
                                            uint4 (&a)[kBlocksPerWarp][kRowTiles][2]) {
  const int tiles = LogitPitch(shape.experts) / kFragmentRows;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int u = 0; u < kBlocksPerWarp; ++u) {
    if (first_block + u >= shape.hidden / kBlockK) break;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      const int tile = min(expert_tile + m, tiles - 1);
      const __nv_bfloat16* fragment =
          gate + static_cast<size_t>(tile) * kFragmentRows * shape.hidden +
          static_cast<size_t>(first_block + u) * kTileElements + lane * 8;
      a[u][m][0] = ptx::LoadCached(fragment);
      a[u][m][1] = ptx::LoadCached(fragment + kTileElements / 2);
    }
  }
}

// The warp's products. Tiles past the end of K multiply zero weights. Two token tiles are in
// flight.
template <int kRowTiles, int kTokenTiles>
__device__ __forceinline__ void Multiply(const ExpertShape& shape, const __nv_bfloat16* x,
                                         int first_token, int first_block,
                                         const uint4 (&a)[kBlocksPerWarp][kRowTiles][2],
                                         float (&acc)[kRowTiles][kTokenTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int k_blocks = shape.hidden / kBlockK;
  const auto load = [&](int j, uint4(&b)[kBlocksPerWarp]) {
    const int token = min(first_token + j * 8 + lane / 4, shape.tokens - 1);
    const __nv_bfloat16* row = x + static_cast<size_t>(token) * shape.hidden + lane % 4 * 8;
#pragma unroll
    for (int u = 0; u < kBlocksPerWarp; ++u)
      b[u] = ptx::LoadCached(row + min(first_block + u, k_blocks - 1) * kBlockK);
  };
  uint4 b[2][kBlocksPerWarp];
  load(0, b[0]);
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) {
    if (j + 1 < kTokenTiles) load(j + 1, b[(j + 1) % 2]);
#pragma unroll
    for (int u = 0; u < kBlocksPerWarp; ++u) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        ptx::MmaBf16(acc[m][j], a[u][m][0], b[j % 2][u].x, b[j % 2][u].y);
        ptx::MmaBf16(acc[m][j], a[u][m][1], b[j % 2][u].z, b[j % 2][u].w);
      }
    }
  }
}

// Adds up the warps' sums and writes the block's part of partial[split][t][e].
template <int kRowTiles, int kTokenTiles>
__device__ __forceinline__ void WriteSums(const ExpertShape& shape, const Unit& unit,
                                          const float* sums, float* partial) {
  constexpr int kRows = kRowTiles * kFragmentRows;
  constexpr int kWarpSums = kTokenTiles * 8 * kPitch<kRowTiles>;
  const int pitch = LogitPitch(shape.experts);
  const int rows = min(kRows, pitch - unit.expert_tile * kFragmentRows);
  const int tokens = min(kTokenTiles * 8, shape.tokens - unit.token);
  float* const out = partial +
                     (static_cast<size_t>(unit.split) * shape.tokens + unit.token) * pitch +
                     unit.expert_tile * kFragmentRows;
  for (int i = static_cast<int>(threadIdx.x); i < tokens * kRows; i += kThreads) {
    const int row = i % kRows;
    const int token = i / kRows;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[w * kWarpSums + token * kPitch<kRowTiles> + row];
    if (row < rows) out[static_cast<size_t>(token) * pitch + row] = sum;
  }
}

// The weights depend on no earlier kernel, so they are on their way before the wait.
template <int kRowTiles, int kTokenTiles, bool kRounds>
__global__ void __launch_bounds__(kThreads)
    GateKernel(ExpertShape shape, const __nv_bfloat16* __restrict__ x,
               const __nv_bfloat16* __restrict__ gate, float* __restrict__ partial, int rounds) {
  extern __shared__ __align__(16) float sums[];  // [kWarps][tokens][pitch]
  Unit unit = UnitOfBlock<kRowTiles, kTokenTiles>(shape, rounds);
  const int end = min(unit.token + rounds * kTokenTiles * 8, shape.tokens);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first_block = (unit.split * kWarps + warp) * kBlocksPerWarp;
  ptx::GridDependencyLaunch();
  uint4 a[kBlocksPerWarp][kRowTiles][2] = {};
  LoadWeights(shape, gate, unit.expert_tile, first_block, a);
  ptx::GridDependencyWait();
  do {
    float acc[kRowTiles][kTokenTiles][4] = {};
    Multiply(shape, x, unit.token, first_block, a, acc);
    StoreSums<kRowTiles, kTokenTiles>(acc, sums + warp * kTokenTiles * 8 * kPitch<kRowTiles>);
    __syncthreads();
    WriteSums<kRowTiles, kTokenTiles>(shape, unit, sums, partial);
    unit.token += kTokenTiles * 8;
    if (kRounds && unit.token < end) __syncthreads();  // before the next round's sums
  } while (kRounds && unit.token < end);
}

constexpr int kMostTiles = 4;  // of tokens; only these take more than one round

struct Tiling {
  int row_tiles;
  int token_tiles;
  int rounds;  // of token_tiles
  int blocks;
};

// The tiling whose waves of blocks read the least: a wave takes as long as one block's reads.
Tiling Choose(const ExpertShape& shape) {
  constexpr int kMultiprocessors = 132;  // of the cards this is built for
  constexpr std::pair<int, int> kTokens[] = {{1, 1},          {2, 1},          {kMostTiles, 1},
                                             {kMostTiles, 2},  // tiles, rounds
                                             {kMostTiles, 4}, {kMostTiles, 8}, {kMostTiles, 16}};
  const int tiles = LogitPitch(shape.experts) / kFragmentRows;
  Tiling best{};
  int least = 0;
  for (const int rows : {1, 2, 4}) {
    for (const auto& [tokens, rounds] : kTokens) {
      const int of_block = tokens * 8 * rounds;
      const int blocks = (tiles + rows - 1) / rows * GateSplits(shape.hidden) *
                         ((shape.tokens + of_block - 1) / of_block);
      const int waves = (blocks + kMultiprocessors - 1) / kMultiprocessors;
      const int reads = waves * (rows * kFragmentRows + of_block);
      if (least != 0 && reads >= least) continue;
      least = reads;
      best = {rows, tokens, rounds, blocks};
    }
  }
  return best;
}

template <class Run>
void WithConstant(int value, Run run) {
  if (value == 1) return run(std::integral_constant<int, 1>{});
  if (value == 2) return run(std::integral_constant<int, 2>{});
  return run(std::integral_constant<int, 4>{});
}

}  // namespace

void GateProduct(const ExpertShape& shape, const __nv_bfloat16* x, const __nv_bfloat16* gate,
                 float* partial, cudaStream_t stream) {
  const Tiling tiling = Choose(shape);
  WithConstant(tiling.row_tiles, [&](auto rows) {
    WithConstant(tiling.token_tiles, [&](auto tokens) {
      Launch(tiling.rounds == 1 ? GateKernel<rows(), tokens(), false>
                                : GateKernel<rows(), kMostTiles, true>,
             {tiling.blocks, kThreads, kSharedBytes<rows(), tokens()>}, stream, shape, x, gate,
             partial, tiling.rounds);
    });
  });
}

}  // namespace moecast::kernels
