// Compute-bound products in bf16, fp8_tensor and fp8_block: tokens are the M, weights the N of
// wgmma, both from shared memory as the copy engine swizzles them.
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

constexpr int kWeightRows = 256;  // of a tile: 128 gate and 128 up, or 256 of down
constexpr int kHalfRows = kWeightRows / 2;
constexpr int kStages = 4;
constexpr int kWeightTileBytes = kWeightRows * kStageRowBytes;
constexpr int kGroupTokenBytes = 64 * kStageRowBytes;  // of the 64 tokens of one warpgroup
constexpr int kSteps = 4;                              // products of a stage, 32 bytes of K each

struct alignas(1024) Shared {
  uint8_t tokens[kStages][kTokenTileBytes];
  uint8_t weights[kStages][kWeightTileBytes];
  uint8_t staging[kConsumerWarps][kStagingBytes];
  Ring<kStages> ring;
  int32_t units_before[kMaxExperts + 1];
};

// What a block needs to know besides its tensor maps.
struct Task {
  ExpertSlots slots;
  int k = 0;             // elements summed over
  int columns = 0;       // of the output
  int weight_tiles = 0;  // per expert
  int rows = 0;          // R
  const float* weight_scale = nullptr;
  PrefillRows in;
  PrefillRows out;
};

// Of a token or a weight code as the product reads it.
template <WeightFormat kFormat>
constexpr int kElementBytes = IsFp8(kFormat) ? 1 : 2;
template <WeightFormat kFormat>
constexpr int kStageColumns = kStageRowBytes / kElementBytes<kFormat>;

template <WeightFormat kFormat>
__device__ int StagesOf(const Task& task) {
  return (task.k + kStageColumns<kFormat> - 1) / kStageColumns<kFormat>;
}

// First row of half `half` of the unit's weight tile in the matrix of all experts.
template <bool kGateUp>
__device__ int WeightRow(const Task& task, const Unit& unit, int half) {
  if constexpr (kGateUp)
    return unit.expert * 2 * task.columns + half * task.columns + unit.weight_tile * kHalfRows;
  return unit.expert * task.columns + unit.weight_tile * kWeightRows + half * kHalfRows;
}

template <WeightFormat kFormat, bool kGateUp>
__device__ void CopyUnit(Shared& shared, const CUtensorMap& token_map,
                         const CUtensorMap& weight_map, const Task& task, const Unit& unit,
                         Cursor<kStages>& cursor) {
  const int stages = StagesOf<kFormat>(task);
  const int first_half = WeightRow<kGateUp>(task, unit, 0);
  const int second_half = WeightRow<kGateUp>(task, unit, 1);
  for (int k = 0; k < stages; ++k, cursor.Advance()) {
    const int column = k * kStageColumns<kFormat>;
    uint8_t* const weights = shared.weights[cursor.stage];
    uint64_t* const full =
        shared.ring.Claim(cursor, unit, k == 0, kTokenTileBytes + kWeightTileBytes);
    ptx::LoadBox(shared.tokens[cursor.stage], &token_map, column, unit.first_row, full);
    ptx::LoadBox(weights, &weight_map, column, first_half, full);
    ptx::LoadBox(weights + kWeightTileBytes / 2, &weight_map, column, second_half, full);
  }
}

// acc = tokens weights^T over all of K, summed by the tensor cores alone.
template <WeightFormat kFormat>
__device__ void Accumulate(Shared& shared, int stages, int group, Cursor<kStages>& cursor,
                           float (&acc)[128]) {
  for (int k = 0; k < stages; ++k, cursor.Advance()) {
    shared.ring.Wait(cursor);
    const uint64_t a = ptx::TileDescriptor(shared.tokens[cursor.stage] + group * kGroupTokenBytes);
    const uint64_t b = ptx::TileDescriptor(shared.weights[cursor.stage]);
    ptx::HoldRegisters(acc);
    ptx::ProductFence();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if constexpr (kElementBytes<kFormat> == 1) {
        ptx::ProductE4m3N256(acc, a + 2 * step, b + 2 * step, k + step > 0);
      } else {
        ptx::ProductBf16N256(acc, a + 2 * step, b + 2 * step, k + step > 0);
      }
    }
    ptx::ProductCommit();
    ptx::ProductWait<0>();
    ptx::HoldRegisters(acc);
    shared.ring.Release(cursor);
  }
}

// The warpgroups' turns at the tensor cores, on a named barrier each: one waits on its own, the
// other arrives there. Group 0 has the first turn, so group 1 gives it before its first unit.
__device__ __forceinline__ void WaitForTurn(int group) {
  ptx::NamedBarrierSync(1 + group, kConsumers * 128);
}
__device__ __forceinline__ void GiveTurn(int group) {
  ptx::NamedBarrierArrive(2 - group, kConsumers * 128);
}

// Scales of one stage: of a lane's two token rows, and of the two halves of the weight tile.
struct StageScales {
  float row[2];
  float half[2];
};

struct ScaleSource {
  const float* row[2];
  const float* half[2];
  int rows = 0;  // R

  __device__ StageScales At(int k) const {
    const int64_t row_offset = static_cast<int64_t>(k) * rows;
    return {{__ldg(row[0] + row_offset), __ldg(row[1] + row_offset)},
            {__ldg(half[0] + k), __ldg(half[1] + k)}};
  }
};

template <bool kGateUp>
__device__ ScaleSource ScalesOf(const Task& task, const Unit& unit, int stages, int first_row) {
  ScaleSource source;
  source.rows = task.rows;
  for (int half = 0; half < 2; ++half) {
    const int row = min(first_row + half * 8, task.rows - 1);
    const int blocks = (task.columns + kFp8BlockSize - 1) / kFp8BlockSize;
    int64_t block = 0;
    if constexpr (kGateUp) {
      block = (unit.expert * 2 + half) * blocks + min(unit.weight_tile, blocks - 1);
    } else {
      block = unit.expert * blocks + min(unit.weight_tile * 2 + half, blocks - 1);
    }
    source.row[half] = task.in.block_scale + row;
    source.half[half] = task.weight_scale + block * stages;
  }
  return source;
}

// acc = sum over blocks of 128 of K of (row scale * block scale) * the block's product. The
// warpgroups take turns: while one scales, the other multiplies.
__device__ void AccumulateScaled(Shared& shared, int stages, int group, const ScaleSource& source,
                                 Cursor<kStages>& cursor, float (&acc)[128]) {
#pragma unroll
  for (int i = 0; i < 128; ++i) acc[i] = 0;
  StageScales scales = source.At(0);
  for (int k = 0; k < stages; ++k, cursor.Advance()) {
    const StageScales next = source.At(min(k + 1, stages - 1));
    shared.ring.Wait(cursor);
    const uint64_t a = ptx::TileDescriptor(shared.tokens[cursor.stage] + group * kGroupTokenBytes);
    const uint64_t b = ptx::TileDescriptor(shared.weights[cursor.stage]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      constexpr uint64_t kHalf = kWeightTileBytes / 2 >> 4;
      float part[64];
      ptx::HoldRegisters(part);
      WaitForTurn(group);
      ptx::ProductFence();
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        ptx::ProductE4m3N128(part, a + 2 * step, b + half * kHalf + 2 * step, step > 0);
      ptx::ProductCommit();
      GiveTurn(group);
      ptx::ProductWait<0>();
      ptx::HoldRegisters(part);
      if (half == 1) shared.ring.Release(cursor);
      const float scale[2] = {scales.row[0] * scales.half[half], scales.row[1] * scales.half[half]};
#pragma unroll
      for (int i = 0; i < 64; ++i) acc[half * 64 + i] += scale[i / 2 % 2] * part[i];
    }
    scales = next;
  }
}

// What a value of the first and the second half of an fp8 tile is multiplied with.
template <WeightFormat kFormat, bool kGateUp>
__device__ float2 ProductScales(const Task& task, const Unit& unit) {
  if constexpr (kFormat != WeightFormat::kFp8) return {1, 1};
  if constexpr (kGateUp)
    return {task.in.static_scale * task.weight_scale[unit.expert * 2],
            task.in.static_scale * task.weight_scale[unit.expert * 2 + 1]};
  const float scale = task.in.static_scale * task.weight_scale[unit.expert];
  return {scale, scale};
}

template <WeightFormat kFormat>
__device__ void StoreActivation(float (&acc)[128], const Task& task, const Unit& unit,
                                uint8_t* staging, RowTarget target) {
  const int first_column = unit.weight_tile * kHalfRows;
  target.rows = static_cast<uint8_t*>(task.out.values) + first_column * kElementBytes<kFormat>;
  target.row_bytes = static_cast<int64_t>(task.columns) * kElementBytes<kFormat>;
  const int valid = min(kHalfRows, task.columns - first_column);
  target.valid_bytes = valid * kElementBytes<kFormat>;
  const float2 scale = ProductScales<kFormat, true>(task, unit);
  SwiGlu(acc, scale.x, scale.y, valid);
  if constexpr (kFormat == WeightFormat::kBf16) {
    StoreBf16<kHalfRows>(acc, staging, target);
  } else if constexpr (kFormat == WeightFormat::kFp8) {
    const float factor = 1.0F / task.out.static_scale;
    StoreE4m3(acc, {factor, factor}, staging, target);
  } else {
    float largest[2];
    RowMaxima(acc, largest);
    float factor[2];
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = target.first_row + lane / 4 + half * 8;
      factor[half] = largest[half] > 0 ? kE4m3Max / largest[half] : 0.0F;
      if (lane % 4 == 0 && row < target.row_end && valid > 0)
        task.out.block_scale[static_cast<int64_t>(unit.weight_tile) * task.rows + row] =
            largest[half] / kE4m3Max;
    }
    StoreE4m3(acc, factor, staging, target);
  }
}

template <WeightFormat kFormat>
__device__ void StoreProduct(float (&acc)[128], const Task& task, const Unit& unit,
                             uint8_t* staging, RowTarget target) {
  const int first_column = unit.weight_tile * kWeightRows;
  target.rows = static_cast<uint8_t*>(task.out.values) + first_column * 2;
  target.row_bytes = static_cast<int64_t>(task.columns) * 2;
  target.valid_bytes = (task.columns - first_column) * 2;
  if constexpr (kFormat == WeightFormat::kFp8) {
    const float scale = ProductScales<kFormat, false>(task, unit).x;
#pragma unroll
    for (int i = 0; i < 128; ++i) acc[i] *= scale;
  }
  StoreBf16<kWeightRows>(acc, staging, target);
}

template <WeightFormat kFormat, bool kGateUp>
__device__ void ConsumeUnit(Shared& shared, const Task& task, const Unit& unit,
                            Cursor<kStages>& cursor) {
  const int warp = static_cast<int>(threadIdx.x) / 32 - 4;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int stages = StagesOf<kFormat>(task);
  RowTarget target{.first_row = unit.first_row + warp * kWarpRows, .row_end = unit.row_end};
  float acc[128];
  if constexpr (kFormat == WeightFormat::kFp8Block) {
    const ScaleSource source = ScalesOf<kGateUp>(task, unit, stages, target.first_row + lane / 4);
    AccumulateScaled(shared, stages, warp / 4, source, cursor, acc);
  } else {
    Accumulate<kFormat>(shared, stages, warp / 4, cursor, acc);
  }
  if constexpr (kGateUp) {
    StoreActivation<kFormat>(acc, task, unit, shared.staging[warp], target);
  } else {
    StoreProduct<kFormat>(acc, task, unit, shared.staging[warp], target);
  }
}

template <WeightFormat kFormat, bool kGateUp>
__global__ void __launch_bounds__(kThreads, 1)
    ProductKernel(const __grid_constant__ CUtensorMap token_map,
                  const __grid_constant__ CUtensorMap weight_map, const Task task) {
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
  if (threadIdx.x == 0) {
    ptx::PrefetchMap(&token_map);
    ptx::PrefetchMap(&weight_map);
  }
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  constexpr bool kTakesTurns = kFormat == WeightFormat::kFp8Block;
  const int group = static_cast<int>(threadIdx.x) / 128 - 1;
  if (kTakesTurns && group == 1) GiveTurn(group);
  RunUnits(
      shared.ring, shared.units_before, task.slots, task.weight_tiles,
      [&](const Unit& unit, Cursor<kStages>& cursor) {
        CopyUnit<kFormat, kGateUp>(shared, token_map, weight_map, task, unit, cursor);
      },
      [&](const Unit& unit, Cursor<kStages>& cursor) {
        ConsumeUnit<kFormat, kGateUp>(shared, task, unit, cursor);
      });
  if (kTakesTurns && group == 0) WaitForTurn(group);  // the one given back last
}

template <WeightFormat kFormat, bool kGateUp>
void LaunchProduct(const ExpertShape& shape, const Task& task, const void* weights,
                   cudaStream_t stream) {
  constexpr MapElement kElement = IsFp8(kFormat) ? MapElement::kByte : MapElement::kBf16;
  const int64_t weight_rows =
      static_cast<int64_t>(shape.experts) * task.columns * (kGateUp ? 2 : 1);
  const CUtensorMap token_map = EncodeTensorMap({.data = task.in.values,
                                                 .element = kElement,
                                                 .rows = task.rows,
                                                 .columns = task.k,
                                                 .box_rows = kPrefillTileRows,
                                                 .box_columns = kStageColumns<kFormat>});
  const CUtensorMap weight_map = EncodeTensorMap({.data = weights,
                                                  .element = kElement,
                                                  .rows = weight_rows,
                                                  .columns = task.k,
                                                  .box_rows = kHalfRows,
                                                  .box_columns = kStageColumns<kFormat>});
  Launch(ProductKernel<kFormat, kGateUp>, {PersistentBlocks(), kThreads, sizeof(Shared)}, stream,
         token_map, weight_map, task);
}

template <bool kGateUp>
void Dispatch(const ExpertShape& shape, WeightFormat format, const Task& task, const void* weights,
              cudaStream_t stream) {
  switch (format) {
    case WeightFormat::kBf16:
      return LaunchProduct<WeightFormat::kBf16, kGateUp>(shape, task, weights, stream);
    case WeightFormat::kFp8:
      return LaunchProduct<WeightFormat::kFp8, kGateUp>(shape, task, weights, stream);
    case WeightFormat::kFp8Block:
      return LaunchProduct<WeightFormat::kFp8Block, kGateUp>(shape, task, weights, stream);
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return;
  }
}

}  // namespace
}  // namespace prefill

void PrefillGateUp(const ExpertShape& shape, const ExpertSlots& slots,
                   const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                   cudaStream_t stream) {
  if (IsInt4(weights.format)) return PrefillGateUpInt4(shape, slots, weights, x, act, stream);
  const prefill::Task task{
      .slots = slots,
      .k = shape.hidden,
      .columns = shape.intermediate,
      .weight_tiles = (shape.intermediate + prefill::kHalfRows - 1) / prefill::kHalfRows,
      .rows = shape.tokens * shape.top_k,
      .weight_scale = static_cast<const float*>(weights.gate_up_scale),
      .in = x,
      .out = act};
  prefill::Dispatch<true>(shape, weights.format, task, weights.gate_up, stream);
}

void PrefillDown(const ExpertShape& shape, const ExpertSlots& slots, const PrefillWeights& weights,
                 const PrefillRows& act, __nv_bfloat16* y, cudaStream_t stream) {
  if (IsInt4(weights.format)) return PrefillDownInt4(shape, slots, weights, act, y, stream);
  const prefill::Task task{
      .slots = slots,
      .k = shape.intermediate,
      .columns = shape.hidden,
      .weight_tiles = (shape.hidden + prefill::kWeightRows - 1) / prefill::kWeightRows,
      .rows = shape.tokens * shape.top_k,
      .weight_scale = static_cast<const float*>(weights.down_scale),
      .in = act,
      .out = {.values = y}};
  prefill::Dispatch<false>(shape, weights.format, task, weights.down, stream);
}

}  // namespace moecast::kernels
