// Memory-bound expert products. A warp streams 16-row weight fragments from global memory straight
// into registers (a lane's 16 bytes are its mma A operand) and multiplies them with 8-token tiles.
// A block is kSplit warps along K times 8/kSplit warps along the weight rows.
#include <cstddef>
#include <type_traits>

#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"

namespace moecast::kernels {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kBlockK = 32;  // columns of one fragment pair
constexpr int kTileElements =
    kFragmentRows * kBlockK;  // one (16-row, 32-column) tile: two fragments
constexpr int kMaxTiles = 4;  // 32 tokens of one expert per pass over its weights

struct Unit {
  int expert;     // logical expert
  int row_block;  // block of weight rows
  int first_slot;
  int slots;  // n_e
};

// Maps a thread block to its unit; false when there is none.
__device__ bool FindUnit(const ExpertSlots& slots, int row_blocks, Unit& unit) {
  const int position = static_cast<int>(blockIdx.x) / row_blocks;
  if (position >= *slots.active_count) return false;
  unit.expert = slots.active_experts[position];
  unit.row_block = static_cast<int>(blockIdx.x) % row_blocks;
  unit.first_slot = slots.offsets[position];
  unit.slots = slots.offsets[position + 1] - unit.first_slot;
  return true;
}

// acc[m][j] += weights[m] x rows[j] over this warp's share of the column blocks. All weight loads
// of a round are issued before the first activation load, whose address depends on a chain of
// look-ups.
//   weights[m]  one 16-row tile in fragment order                     // (K/32, 2, 32 lanes, 8)
//   rows[j]     the token row this lane supplies to token tile j      // (K)
template <int kSplit, int kUnroll, int kRowTiles, int kTiles>
__device__ void Accumulate(const __nv_bfloat16* const (&weights)[kRowTiles],
                           const __nv_bfloat16* const (&rows)[kTiles], int k_blocks,
                           float (&acc)[kRowTiles][kTiles][4]) {
  const int split = static_cast<int>(threadIdx.x) / 32 % kSplit;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int first = split * kUnroll; first < k_blocks; first += kSplit * kUnroll) {
    uint4 a[kUnroll][kRowTiles][2];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int block = min(first + u, k_blocks - 1);  // past the end: loaded again, not multiplied
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        const __nv_bfloat16* tile =
            weights[m] + static_cast<size_t>(block) * kTileElements + lane * 8;
        a[u][m][0] = ptx::LoadStreaming(tile);
        a[u][m][1] = ptx::LoadStreaming(tile + kTileElements / 2);
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (first + u >= k_blocks) break;
      uint4 b[kTiles];
#pragma unroll
      for (int j = 0; j < kTiles; ++j)
        b[j] = ptx::LoadCached(rows[j] + (first + u) * kBlockK + lane % 4 * 8);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int j = 0; j < kTiles; ++j) {
          ptx::MmaBf16(acc[m][j], a[u][m][0], b[j].x, b[j].y);
          ptx::MmaBf16(acc[m][j], a[u][m][1], b[j].z, b[j].w);
        }
      }
    }
  }
}

// Sums acc over the kSplit warps that share weight rows.
//   partial  [kSplit][rows][columns], result in partial[0]
template <int kSplit, int kRowTiles, int kTiles>
__device__ void ReduceOverSplit(const float (&acc)[kRowTiles][kTiles][4], float* partial) {
  constexpr int kColumns = kTiles * 8;
  constexpr int kElements = kWarps / kSplit * kRowTiles * kFragmentRows * kColumns;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_row = warp / kSplit * kRowTiles * kFragmentRows;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const int row = first_row + m * kFragmentRows + lane / 4 + i * 4;
        const int column = j * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(&partial[warp % kSplit * kElements + row * kColumns + column]) =
            make_float2(acc[m][j][i], acc[m][j][i + 1]);
      }
    }
  }
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < kElements; e += kThreads) {
    float total = partial[e];
#pragma unroll
    for (int s = 1; s < kSplit; ++s) total += partial[s * kElements + e];
    partial[e] = total;
  }
  __syncthreads();
}

template <int kRowTiles, int kTiles>
constexpr size_t kSharedBytes = sizeof(float) * kWarps* kRowTiles* kFragmentRows* kTiles * 8;

// A lane's token row of tile j: its column of B is token lane/4. Slots past the end repeat the last
// one; their columns are computed and dropped.
__device__ int SlotOfLane(const Unit& unit, int base, int j) {
  const int slot = base + j * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
  return unit.first_slot + min(slot, unit.slots - 1);
}

constexpr int kGateUpSplit = 8;
// An expert no wider than this, with one token tile, is read in units of two row-tile pairs: longer
// streams per block, too few blocks for anything wider to lose by it. docs/kernels.md, "Ladder".
constexpr int kWideUnitsUpTo = 1408;
constexpr int kDownSplit = 8;
constexpr int kDownRowTiles = 4;
constexpr int kDownRows =
    kWarps / kDownSplit * kDownRowTiles * kFragmentRows;  // weight rows of one down unit

// One pass over a gate-up unit's weights for slots [base, base + 8 * kTiles). Row tiles alternate
// gate, up.
template <int kTiles, int kRowTiles>
__device__ void GateUpPass(const ExpertShape& shape, const ExpertSlots& slots, const Unit& unit,
                           int base, const __nv_bfloat16* __restrict__ x,
                           const __nv_bfloat16* const (&weights)[kRowTiles],
                           __nv_bfloat16* __restrict__ act, float* partial) {
  const __nv_bfloat16* rows[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j)
    rows[j] = x + static_cast<size_t>(slots.slot_token[SlotOfLane(unit, base, j)]) * shape.hidden;
  float acc[kRowTiles][kTiles][4] = {};
  constexpr int kUnroll = (kTiles == 1 ? 8 : 4) / kRowTiles;
  Accumulate<kGateUpSplit, kUnroll, kRowTiles, kTiles>(weights, rows, shape.hidden / kBlockK, acc);
  ReduceOverSplit<kGateUpSplit, kRowTiles, kTiles>(acc, partial);
  constexpr int kColumns = kTiles * 8;
  constexpr int kRows = kRowTiles / 2 * kFragmentRows;  // of the activation
  for (int e = static_cast<int>(threadIdx.x); e < kRows * kColumns; e += kThreads) {
    const int row = e % kRows;
    const int column = e / kRows;
    if (base + column >= unit.slots) continue;
    const int gate_row = row / kFragmentRows * 2 * kFragmentRows + row % kFragmentRows;
    const float gate = partial[gate_row * kColumns + column];
    const float up = partial[(gate_row + kFragmentRows) * kColumns + column];
    act[static_cast<size_t>(unit.first_slot + base + column) * shape.intermediate +
        unit.row_block * kRows + row] = __float2bfloat16(gate / (1.0F + __expf(-gate)) * up);
  }
  __syncthreads();
}

// One pass over a down unit's weights for slots [base, base + 8 * kTiles).
template <int kTiles>
__device__ void DownPass(const ExpertShape& shape, const Unit& unit, int base,
                         const __nv_bfloat16* __restrict__ act,
                         const __nv_bfloat16* const (&weights)[kDownRowTiles],
                         __nv_bfloat16* __restrict__ y, float* partial) {
  const __nv_bfloat16* rows[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j)
    rows[j] = act + static_cast<size_t>(SlotOfLane(unit, base, j)) * shape.intermediate;
  float acc[kDownRowTiles][kTiles][4] = {};
  Accumulate<kDownSplit, kTiles == 1 ? 2 : 1, kDownRowTiles, kTiles>(
      weights, rows, shape.intermediate / kBlockK, acc);
  ReduceOverSplit<kDownSplit, kDownRowTiles, kTiles>(acc, partial);
  constexpr int kColumns = kTiles * 8;
  for (int e = static_cast<int>(threadIdx.x); e < kDownRows * kColumns; e += kThreads) {
    const int row = e % kDownRows;
    const int column = e / kDownRows;
    if (base + column >= unit.slots) continue;
    y[static_cast<size_t>(unit.first_slot + base + column) * shape.hidden +
      unit.row_block * kDownRows + row] = __float2bfloat16(partial[row * kColumns + column]);
  }
  __syncthreads();
}

// Covers a unit's slots with passes of at most 8 * kMax slots, each no wider than what is left.
template <int kMax, class Pass>
__device__ void ForEachPass(const Unit& unit, Pass pass) {
  for (int base = 0; base < unit.slots;) {
    const int left = unit.slots - base;
    if (kMax >= 4 && left > 16) {
      pass(std::integral_constant < int, kMax >= 4 ? 4 : 1 > {}, base), base += 32;
    } else if (kMax >= 2 && left > 8) {
      pass(std::integral_constant < int, kMax >= 2 ? 2 : 1 > {}, base), base += 16;
    } else {
      pass(std::integral_constant<int, 1>{}, base), base += 8;
    }
  }
}

// Resident blocks per multiprocessor that the register budget is cut for.
constexpr int kResident = 2;

template <int kMax, int kRowTiles>
__global__ void __launch_bounds__(kThreads, kResident)
    GateUpKernel(ExpertShape shape, ExpertSlots slots, const __nv_bfloat16* __restrict__ x,
                 const __nv_bfloat16* __restrict__ gate_up, __nv_bfloat16* __restrict__ act) {
  extern __shared__ __align__(16) float partial[];
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  Unit unit;
  if (!FindUnit(slots, 2 * shape.intermediate / (kRowTiles * kFragmentRows), unit)) return;
  const size_t tile = static_cast<size_t>(kFragmentRows) * shape.hidden;
  const size_t first_tile =
      static_cast<size_t>(unit.expert) * (2 * shape.intermediate / kFragmentRows) +
      static_cast<size_t>(unit.row_block) * kRowTiles;
  const __nv_bfloat16* weights[kRowTiles];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) weights[m] = gate_up + (first_tile + m) * tile;
  ForEachPass<kMax>(unit, [&](auto tiles, int base) {
    GateUpPass<decltype(tiles)::value, kRowTiles>(
        shape, slots, unit, base, x,
        reinterpret_cast<const __nv_bfloat16* const(&)[kRowTiles]>(weights), act, partial);
  });
}

template <int kMax>
__global__ void __launch_bounds__(kThreads, kResident)
    DownKernel(ExpertShape shape, ExpertSlots slots, const __nv_bfloat16* __restrict__ act,
               const __nv_bfloat16* __restrict__ down, __nv_bfloat16* __restrict__ y) {
  extern __shared__ __align__(16) float partial[];
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  Unit unit;
  if (!FindUnit(slots, shape.hidden / kDownRows, unit)) return;
  const size_t tile = static_cast<size_t>(kFragmentRows) * shape.intermediate;
  const size_t first_tile = static_cast<size_t>(unit.expert) * (shape.hidden / kFragmentRows) +
                            static_cast<size_t>(unit.row_block) * (kDownRows / kFragmentRows) +
                            threadIdx.x / 32 / kDownSplit * kDownRowTiles;
  const __nv_bfloat16* weights[kDownRowTiles];
#pragma unroll
  for (int m = 0; m < kDownRowTiles; ++m) weights[m] = down + (first_tile + m) * tile;
  ForEachPass<kMax>(unit, [&](auto tiles, int base) {
    DownPass<decltype(tiles)::value>(
        shape, unit, base, act,
        reinterpret_cast<const __nv_bfloat16* const(&)[kDownRowTiles]>(weights), y, partial);
  });
}

// Experts that can be active: every slot on its own expert, or all of them.
int MaxActive(const ExpertShape& shape) { return min(shape.experts, shape.tokens * shape.top_k); }

// Calls `run` with the fewest token tiles that hold an expert's largest possible load in one pass.
template <class Run>
void DispatchTiles(int tokens, Run run) {
  if (tokens <= 8) return run(std::integral_constant<int, 1>{});
  if (tokens <= 16) return run(std::integral_constant<int, 2>{});
  return run(std::integral_constant<int, kMaxTiles>{});
}

}  // namespace

void PackRows(const __nv_bfloat16* row_major, int64_t rows, int64_t k, __nv_bfloat16* packed) {
  for (int64_t tile = 0; tile < rows / kFragmentRows; ++tile) {
    for (int64_t block = 0; block < k / kBlockK; ++block) {
      __nv_bfloat16* out = packed + (tile * (k / kBlockK) + block) * kTileElements;
      for (int half = 0; half < 2; ++half) {
        for (int lane = 0; lane < 32; ++lane) {
          for (int v = 0; v < 8; ++v) {
            // mma A registers: a0 (row g, k lo), a1 (row g+8, k lo), a2 (row g, k hi), a3 (row g+8,
            // k hi); k lo / k hi are values 4*half+{0,1} / 4*half+{2,3} of the 8 columns the lane's
            // B load covers.
            const int reg = v / 2;
            const int64_t row = tile * kFragmentRows + lane / 4 + reg % 2 * 8;
            const int64_t column = block * kBlockK + lane % 4 * 8 + half * 4 + reg / 2 * 2 + v % 2;
            out[half * (kTileElements / 2) + lane * 8 + v] = row_major[row * k + column];
          }
        }
      }
    }
  }
}

void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream) {
  const auto launch = [&](auto tiles, auto row_tiles) {
    const int units = 2 * shape.intermediate / (row_tiles() * kFragmentRows);
    Launch(GateUpKernel<tiles(), row_tiles()>,
           {MaxActive(shape) * units, kThreads, kSharedBytes<row_tiles(), tiles()>}, stream, shape,
           slots, x, gate_up, act);
  };
  if (shape.tokens <= kExpertTileRows && shape.intermediate <= kWideUnitsUpTo)
    return launch(std::integral_constant<int, 1>{}, std::integral_constant<int, 4>{});
  DispatchTiles(shape.tokens, [&](auto tiles) { launch(tiles, std::integral_constant<int, 2>{}); });
}

void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream) {
  const int blocks = MaxActive(shape) * (shape.hidden / kDownRows);
  DispatchTiles(shape.tokens, [&](auto tiles) {
    Launch(DownKernel<tiles()>, {blocks, kThreads, kSharedBytes<kDownRowTiles, tiles()>}, stream,
           shape, slots, act, down, y);
  });
}

}  // namespace moecast::kernels
