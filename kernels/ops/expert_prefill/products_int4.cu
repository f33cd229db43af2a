// Compute-bound products with 4-bit weights: the weights are the M of wgmma and come from
// registers, where each warp turns its codes into bf16; tokens are the N, from shared memory. While
// one warpgroup converts, the other multiplies.
#include "kernels/ops/expert_prefill/epilogue.cuh"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/expert_prefill/pipeline.cuh"
#include "kernels/ops/expert_prefill/schedule.cuh"
#include "kernels/ops/expert_prefill/tensor_map.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx.cuh"
#include "kernels/ops/ptx_wgmma.cuh"

namespace moecast::kernels {
namespace prefill {
namespace {

constexpr int kStages = 7;
constexpr int kStageColumns = 64;  // of K
constexpr int kTiles = 16;         // 16-row tiles of weights of a block
constexpr int kWarpTiles = 2;      // of a warp: gate and up, or neighbours of down
constexpr int kCodeBytes = kFragmentRows * kStageColumns / 2;  // of a tile
constexpr int kScaleBytes = kFragmentRows * 2;                 // of a tile and a group
constexpr int kSteps = 4;                                      // of 16 columns each
constexpr int kFlushTokens = 32;                               // staged at a time

template <int kGroupColumns>
constexpr int kStageGroups = kGroupColumns < kStageColumns ? kStageColumns / kGroupColumns : 1;

struct alignas(1024) Shared {
  uint8_t tokens[kStages][kTokenTileBytes];
  uint8_t codes[kStages][kTiles * kCodeBytes];
  uint8_t scales[kStages][kTiles * kStageGroups<32> * kScaleBytes];
  uint8_t staging[kConsumerWarps][kStagingBytes];
  Ring<kStages> ring;
  int32_t units_before[kMaxExperts + 1];
};

struct Task {
  ExpertSlots slots;
  int k = 0;
  int columns = 0;       // of the output
  int expert_tiles = 0;  // 16-row tiles of one expert's weights
  int weight_tiles = 0;  // blocks of kTiles of them
  __nv_bfloat16* out = nullptr;
};

struct Maps {
  CUtensorMap tokens;
  CUtensorMap codes;
  CUtensorMap scales;
};

template <int kGroupColumns>
__device__ void CopyUnit(Shared& shared, const Maps& maps, const Task& task, const Unit& unit,
                         Cursor<kStages>& cursor) {
  constexpr int kCodeWords = kCodeBytes / 4;
  constexpr int kScaleWords = kScaleBytes / 4;
  constexpr int kBytes =
      kTokenTileBytes + kTiles * kCodeBytes + kTiles * kStageGroups<kGroupColumns> * kScaleBytes;
  const int tile = unit.expert * task.expert_tiles + unit.weight_tile * kTiles;
  for (int k = 0; k < task.k / kStageColumns; ++k, cursor.Advance()) {
    const int s = cursor.stage;
    uint64_t* const full = shared.ring.Claim(cursor, unit, k == 0, kBytes);
    ptx::LoadBox(shared.tokens[s], &maps.tokens, k * kStageColumns, unit.first_row, full);
    ptx::LoadBox(shared.codes[s], &maps.codes, k * kCodeWords, tile, full);
    ptx::LoadBox(shared.scales[s], &maps.scales, k * kStageColumns / kGroupColumns * kScaleWords,
                 tile, full);
  }
}

// Eight codes of one word times their scales, as a lane's fragment of 16 columns.
//   scale  of rows lane / 4 and lane / 4 + 8, each in both halves
__device__ __forceinline__ void Dequantise(uint32_t word, const __nv_bfloat162 (&scale)[2],
                                           uint32_t (&fragment)[4]) {
  // A code in the low bits of bf16 128 is 128 + code, exactly.
  constexpr uint32_t kCodeMask = 0x000f000f;
  constexpr uint32_t kBias = 0x43004300;
  const __nv_bfloat162 zero = __float2bfloat162_rn(128.0F + kInt4Zero);
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const uint32_t biased = ((word >> (4 * p)) & kCodeMask) | kBias;
    const __nv_bfloat162 value =
        __hmul2(__hsub2(*reinterpret_cast<const __nv_bfloat162*>(&biased), zero), scale[p % 2]);
    fragment[p] = *reinterpret_cast<const uint32_t*>(&value);
  }
}

// All fragments of one tile and stage.
template <int kGroupColumns>
__device__ __forceinline__ void LoadFragments(const Shared& shared, int stage, int tile,
                                              uint32_t (&fragments)[kSteps][4]) {
  constexpr int kGroups = kStageGroups<kGroupColumns>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint4 words =
      *reinterpret_cast<const uint4*>(shared.codes[stage] + tile * kCodeBytes + lane * 16);
  const uint32_t word[kSteps] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    const auto rows = *reinterpret_cast<const __nv_bfloat162*>(
        shared.scales[stage] + (tile * kGroups + group) * kScaleBytes + lane / 4 * 4);
    const __nv_bfloat162 scale[2] = {__low2bfloat162(rows), __high2bfloat162(rows)};
#pragma unroll
    for (int step = 0; step < kSteps / kGroups; ++step)
      Dequantise(word[group * (kSteps / kGroups) + step], scale,
                 fragments[group * (kSteps / kGroups) + step]);
  }
}

template <int kGroupColumns>
__device__ void Accumulate(Shared& shared, const Task& task, int warp, Cursor<kStages>& cursor,
                           float (&first)[64], float (&second)[64]) {
  for (int k = 0; k < task.k / kStageColumns; ++k, cursor.Advance()) {
    shared.ring.Wait(cursor);
    uint32_t fragments[kWarpTiles][kSteps][4];
#pragma unroll
    for (int tile = 0; tile < kWarpTiles; ++tile)
      LoadFragments<kGroupColumns>(shared, cursor.stage, warp * kWarpTiles + tile, fragments[tile]);
    const uint64_t b = ptx::TileDescriptor(shared.tokens[cursor.stage]);
    ptx::HoldRegisters(first);
    ptx::HoldRegisters(second);
    ptx::ProductFence();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      ptx::ProductBf16N128(first, fragments[0][step], b + 2 * step, k + step > 0);
      ptx::ProductBf16N128(second, fragments[1][step], b + 2 * step, k + step > 0);
    }
    ptx::ProductCommit();
    ptx::ProductWait<0>();
    ptx::HoldRegisters(first);
    ptx::HoldRegisters(second);
    shared.ring.Release(cursor);
  }
}

// Rows of a warp's staging buffer are tokens, kTiles * 32 bytes each; 16-byte chunks are exchanged
// so that eight tokens at one chunk lie in different banks where they can.
template <int kOutTiles>
__device__ __forceinline__ uint8_t* TokenChunk(uint8_t* staging, int token, int chunk) {
  constexpr int kChunks = kOutTiles * 2;
  return staging + token * kChunks * 16 + ((chunk ^ (token * kChunks / 8 & (kChunks - 1))) << 4);
}

template <int kOutTiles>
__device__ void FlushTokens(uint8_t* staging, const Unit& unit, int first_token, int column,
                            const Task& task) {
  constexpr int kChunks = kOutTiles * 2;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int chunk = lane % kChunks;
  __syncwarp();
#pragma unroll
  for (int first = 0; first < kFlushTokens; first += 32 / kChunks) {
    const int token = first + lane / kChunks;
    const int row = unit.first_row + first_token + token;
    if (row < unit.row_end && column < task.columns)
      *reinterpret_cast<uint4*>(task.out + static_cast<int64_t>(row) * task.columns + column +
                                chunk * 8) =
          *reinterpret_cast<const uint4*>(TokenChunk<kOutTiles>(staging, token, chunk));
  }
  __syncwarp();
}

// One 16-row tile of outputs for 32 tokens, from accumulators d[first..].
template <int kOutTiles>
__device__ __forceinline__ void StageTile(const float (&d)[64], int first_token, int tile,
                                          uint8_t* staging) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < kFlushTokens; i += 16) {
    const int j = (first_token + i) / 8 * 4;
    const uint32_t m[4] = {PackBf16(d[j], d[j + 1]), PackBf16(d[j + 2], d[j + 3]),
                           PackBf16(d[j + 4], d[j + 5]), PackBf16(d[j + 6], d[j + 7])};
    const int token = i + lane / 16 * 8 + lane % 8;
    ptx::StoreMatrixTransposed(TokenChunk<kOutTiles>(staging, token, tile * 2 + lane / 8 % 2), m);
  }
}

template <int kGroupColumns, bool kGateUp>
__device__ void ConsumeUnit(Shared& shared, const Task& task, const Unit& unit,
                            Cursor<kStages>& cursor) {
  const int warp = static_cast<int>(threadIdx.x) / 32 - 4;
  float first[64];
  float second[64];
  Accumulate<kGroupColumns>(shared, task, warp, cursor, first, second);
  uint8_t* const staging = shared.staging[warp];
  constexpr int kOutTiles = kGateUp ? 1 : 2;
  const int column = (unit.weight_tile * kConsumerWarps + warp) * kOutTiles * kFragmentRows;
  if constexpr (kGateUp) {
#pragma unroll
    for (int i = 0; i < 64; ++i) first[i] = Silu(first[i]) * second[i];
  }
#pragma unroll
  for (int token = 0; token < kPrefillTileRows; token += kFlushTokens) {
    StageTile<kOutTiles>(first, token, 0, staging);
    if constexpr (!kGateUp) StageTile<kOutTiles>(second, token, 1, staging);
    FlushTokens<kOutTiles>(staging, unit, token, column, task);
  }
}

template <int kGroupColumns, bool kGateUp>
__global__ void __launch_bounds__(kThreads, 1)
    Int4Kernel(const __grid_constant__ Maps maps, const Task task) {
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
  if (threadIdx.x == 0) {
    ptx::PrefetchMap(&maps.tokens);
    ptx::PrefetchMap(&maps.codes);
    ptx::PrefetchMap(&maps.scales);
  }
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  RunUnits(
      shared.ring, shared.units_before, task.slots, task.weight_tiles,
      [&](const Unit& unit, Cursor<kStages>& cursor) {
        CopyUnit<kGroupColumns>(shared, maps, task, unit, cursor);
      },
      [&](const Unit& unit, Cursor<kStages>& cursor) {
        ConsumeUnit<kGroupColumns, kGateUp>(shared, task, unit, cursor);
      });
}

struct Operands {
  const void* rows = nullptr;
  const void* codes = nullptr;
  const void* scales = nullptr;
};

template <int kGroupColumns, bool kGateUp>
void LaunchInt4(const ExpertShape& shape, const Task& task, const Operands& operands,
                cudaStream_t stream) {
  const int64_t tiles = static_cast<int64_t>(shape.experts) * task.expert_tiles;
  const Maps maps{
      .tokens = EncodeTensorMap({.data = operands.rows,
                                 .element = MapElement::kBf16,
                                 .rows = static_cast<int64_t>(shape.tokens) * shape.top_k,
                                 .columns = task.k,
                                 .box_rows = kPrefillTileRows,
                                 .box_columns = kStageColumns}),
      .codes = EncodeTensorMap({.data = operands.codes,
                                .element = MapElement::kWord,
                                .rows = tiles,
                                .columns = task.k / kStageColumns * (kCodeBytes / 4),
                                .box_rows = kTiles,
                                .box_columns = kCodeBytes / 4,
                                .swizzled = false}),
      .scales = EncodeTensorMap({.data = operands.scales,
                                 .element = MapElement::kWord,
                                 .rows = tiles,
                                 .columns = task.k / kGroupColumns * (kScaleBytes / 4),
                                 .box_rows = kTiles,
                                 .box_columns = kStageGroups<kGroupColumns> * (kScaleBytes / 4),
                                 .swizzled = false})};
  Launch(Int4Kernel<kGroupColumns, kGateUp>, {PersistentBlocks(), kThreads, sizeof(Shared)}, stream,
         maps, task);
}

template <bool kGateUp>
void Dispatch(const ExpertShape& shape, WeightFormat format, const Task& task,
              const Operands& operands, cudaStream_t stream) {
  if (format == WeightFormat::kInt4G32)
    return LaunchInt4<32, kGateUp>(shape, task, operands, stream);
  LaunchInt4<128, kGateUp>(shape, task, operands, stream);
}

Task TaskOf(const ExpertSlots& slots, int k, int columns, int weight_rows, void* out) {
  const int tiles = weight_rows / kFragmentRows;
  return {.slots = slots,
          .k = k,
          .columns = columns,
          .expert_tiles = tiles,
          .weight_tiles = (tiles + kTiles - 1) / kTiles,
          .out = static_cast<__nv_bfloat16*>(out)};
}

}  // namespace
}  // namespace prefill

void PrefillGateUpInt4(const ExpertShape& shape, const ExpertSlots& slots,
                       const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                       cudaStream_t stream) {
  const prefill::Task task =
      prefill::TaskOf(slots, shape.hidden, shape.intermediate, 2 * shape.intermediate, act.values);
  prefill::Dispatch<true>(shape, weights.format, task,
                          {x.values, weights.gate_up, weights.gate_up_scale}, stream);
}

void PrefillDownInt4(const ExpertShape& shape, const ExpertSlots& slots,
                     const PrefillWeights& weights, const PrefillRows& act, __nv_bfloat16* y,
                     cudaStream_t stream) {
  const prefill::Task task =
      prefill::TaskOf(slots, shape.intermediate, shape.hidden, shape.hidden, y);
  prefill::Dispatch<false>(shape, weights.format, task,
                           {act.values, weights.down, weights.down_scale}, stream);
}

}  // namespace moecast::kernels
