// Prefill attention: schedule as in FlashAttention-3 (warpgroups in turns, the product of the next
// tile in flight during the softmax of this one).                                   [Shah24, 3.1-2]
#include <string>

#include "kernels/ops/attend_prefill/attend_prefill.h"
#include "kernels/ops/attend_prefill/online_softmax.cuh"
#include "kernels/ops/attend_prefill/past_tiles.cuh"
#include "kernels/ops/attend_prefill/pipeline.cuh"
#include "kernels/ops/expert_prefill/launch_plan.h"
#include "kernels/ops/expert_prefill/tensor_map.h"
#include "kernels/ops/launch.h"
#include "kernels/ops/ptx_wgmma.cuh"

namespace moecast::kernels {
namespace attend {
namespace {

struct Maps {
  CUtensorMap query;
  CUtensorMap key;
  CUtensorMap value;
};

struct Task {
  AttendPrefillShape shape;
  AttendChunk chunk;
  AttendPast past;
  __nv_bfloat16* out = nullptr;
  uint32_t* counters = nullptr;  // units taken, blocks done
  float scale = 1;               // log2(e) times the shape's
};

// Registers of a copying and of a multiplying thread: together no more than 384 threads have at
// launch, 168 each.
constexpr int kCopyRegisters = 40;
constexpr int kConsumerRegisters = 232;
static_assert(kCopyRegisters + kConsumers * kConsumerRegisters <= 3 * 168);

template <int kBlocks>
__device__ void LoadTile(uint8_t (&tile)[kBlocks][kBlockBytes], const CUtensorMap& map, int column,
                         int row, uint64_t* full) {
  ptx::BarrierArriveExpect(full, kBlocks * kBlockBytes);
#pragma unroll
  for (int b = 0; b < kBlocks; ++b)
    ptx::LoadBox(tile[b], &map, column + b * kBlockColumns, row, full);
}

// Blocks count themselves out; the last one leaves both counters zero for the next launch.
__device__ void CountOut(uint32_t* counters) {
  if (atomicAdd(&counters[1], 1U) + 1 < gridDim.x) return;
  counters[0] = 0;
  counters[1] = 0;
}

// One warp, of which one thread copies.
template <int kKeyDim, int kValueDim>
struct Copier {
  Shared<kKeyDim, kValueDim>& shared;
  const Maps& maps;
  const Task& task;
  UnitWalk walk{task.shape, task.chunk, task.past};
  Cursor keys;
  Cursor values;
  uint32_t passes = 0;  // of the query tile
  bool leads = threadIdx.x == 0;

  __device__ Unit NextUnit() {
    uint32_t index = 0;
    if (leads) index = atomicAdd(&task.counters[0], 1U);
    return walk.Find(static_cast<int>(__shfl_sync(0xffffffffU, index, 0)));
  }

  __device__ void LoadQuery(const Unit& unit) {
    if (!leads) return;
    ptx::BarrierWait(&shared.query_empty, passes % 2 ^ 1U);
    shared.unit = unit;
    if (unit.sequence == Unit::kNoSequence) {
      ptx::BarrierArrive(&shared.query_full);
    } else {
      LoadTile(shared.query, maps.query, unit.head * kKeyDim, unit.query_row, &shared.query_full);
    }
  }

  // One stage of a ring from the chunk's rows.
  template <int kBlocks>
  __device__ void LoadRows(Ring& ring, const Cursor& cursor, uint8_t (&tile)[kBlocks][kBlockBytes],
                           const CUtensorMap& map, int head, int row) {
    ring.Claim(cursor);
    if (leads) LoadTile(tile, map, head * kBlocks * kBlockColumns, row, &ring.full[cursor.stage]);
  }
  // The same from the past.
  template <int kBlocks>
  __device__ void LoadPast(Ring& ring, const Cursor& cursor, uint8_t (&tile)[kBlocks][kBlockBytes],
                           const uint8_t* from) {
    ring.Claim(cursor);
    if (!leads) return;
    ptx::BarrierArriveExpect(&ring.full[cursor.stage], sizeof(tile));
    ptx::BulkCopy(tile, from, sizeof(tile), &ring.full[cursor.stage]);
  }

  __device__ void LoadTiles(const Unit& unit) {
    const int head = unit.head / (task.shape.query_heads / task.shape.kv_heads);
    const int chunk_tiles = unit.ChunkTiles();
    for (int tile = 0; tile < chunk_tiles; ++tile, keys.Advance(), values.Advance()) {
      const int row = unit.TileRow(tile);
      LoadRows(shared.keys, keys, shared.key[keys.stage], maps.key, head, row);
      LoadRows(shared.values, values, shared.value[values.stage], maps.value, head, row);
    }
    const int first = unit.past_tile + unit.FirstPastTile();
    for (int tile = 0; tile < unit.PastTiles(); ++tile, keys.Advance(), values.Advance()) {
      const int64_t number = static_cast<int64_t>(first + tile) * task.shape.kv_heads + head;
      const uint8_t* const from = task.past.expanded + number * PastTileBytes(kKeyDim, kValueDim);
      LoadPast(shared.keys, keys, shared.key[keys.stage], from);
      LoadPast(shared.values, values, shared.value[values.stage],
               from + kKeyDim / kBlockColumns * kBlockBytes);
    }
  }

  __device__ void Run() {
    for (;; ++passes) {
      const Unit unit = NextUnit();
      LoadQuery(unit);
      if (unit.sequence == Unit::kNoSequence) break;
      LoadTiles(unit);
    }
    if (leads) CountOut(task.counters);
  }
};

// The warpgroups' turns at the tensor cores, on a named barrier each: one waits on its own, the
// other arrives there. Group 0 has the first turn, so group 1 gives it before its first unit.
__device__ __forceinline__ void WaitForTurn(int group) {
  ptx::NamedBarrierSync(kTurn + group, kConsumers * 128);
}
__device__ __forceinline__ void GiveTurn(int group) {
  ptx::NamedBarrierArrive(kTurn + 1 - group, kConsumers * 128);
}

template <int kKeyDim, int kValueDim>
struct Consumer {
  static constexpr int kScores = kKeyRows / 2;  // of a lane: 64 rows of 128 over 128 lanes
  static constexpr int kOutputs = kValueDim / 2;
  static constexpr int kSteps = kKeyRows / 16;

  Shared<kKeyDim, kValueDim>& shared;
  const Task& task;
  int group;  // warpgroup
  Cursor keys;
  Cursor values;
  RowState state;

  // s = q k^T of the stage, in flight.
  __device__ __forceinline__ void MultiplyKeys(float (&s)[kScores]) {
    constexpr uint64_t kBlock = kBlockBytes >> 4;
    const uint64_t a = ptx::TileDescriptor(shared.query[0] + group * (kBlockBytes / 2));
    const uint64_t b = ptx::TileDescriptor(shared.key[keys.stage]);
    ptx::HoldRegisters(s);
    ptx::ProductFence();
#pragma unroll
    for (int step = 0; step < kKeyDim / 16; ++step) {
      const uint64_t offset = step / 4 * kBlock + step % 4 * 2;
      ptx::ProductBf16N128(s, a + offset, b + offset, step > 0);
    }
    ptx::ProductCommit();
  }

  // o (+)= p v of the stage, in flight.
  __device__ __forceinline__ void MultiplyValues(float (&o)[kOutputs],
                                                 const uint32_t (&p)[kSteps][4], bool add) {
    const uint64_t b = ptx::RowsDescriptor(shared.value[values.stage], kBlockBytes);
    ptx::HoldRegisters(o);
    ptx::ProductFence();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if constexpr (kValueDim == 64) {
        ptx::ProductRowsBf16N64(o, p[step], b + step * 128, add || step > 0);
      } else {
        ptx::ProductRowsBf16N128(o, p[step], b + step * 128, add || step > 0);
      }
    }
    ptx::ProductCommit();
  }

  // Hides keys that the tile holds but a row does not see.
  __device__ __forceinline__ void MaskTile(const Unit& unit, int tile, float (&s)[kScores]) const {
    const int row = group * 64 + static_cast<int>(threadIdx.x) % 128 / 32 * 16 +
                    static_cast<int>(threadIdx.x) % 32 / 4;
    const int past_tile = tile - unit.ChunkTiles();
    // Counted from the start of the past: column 0, the first key there is, the last one there is.
    int column = unit.past + unit.visible - (tile + 1) * kKeyRows;
    int begin = unit.past;
    int end = tile == 0 ? unit.past + unit.first_key + row : column + kKeyRows;
    int next_row = tile == 0 ? 8 : 0;
    if (past_tile >= 0) {
      column = (unit.FirstPastTile() + past_tile) * kKeyRows;
      begin = 0;
      end = unit.past - 1;
      next_row = 0;
    }
    const bool whole = tile > 0 && begin <= column && column + kKeyRows <= end + 1 &&
                       unit.low + kQueryRows <= column;
    if (whole) return;
    const int low = unit.low + row;
    Mask(s, {max(begin, low) - column, max(begin, low + 8) - column},
         {end - column, end + next_row - column});
  }

  __device__ __forceinline__ void Soften(const Unit& unit, int tile, float (&s)[kScores],
                                         float (&factor)[2]) {
    MaskTile(unit, tile, s);
    float seen[2];
    RowMaxima(s, seen);
    Exponentiate(s, seen, task.scale, state, factor);
  }

  __device__ __forceinline__ void Pack(const float (&s)[kScores], uint32_t (&p)[kSteps][4]) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) PackStep(s + step * 8, p[step]);
  }

  __device__ void Attend(const Unit& unit, float (&o)[kOutputs]) {
    float s[kScores];
    float factor[2];
    uint32_t p[kSteps][4];
    state = {};
    shared.keys.Wait(keys);
    MultiplyKeys(s);
    ptx::ProductWait<0>();
    ptx::HoldRegisters(s);
    shared.keys.Release(keys);
    keys.Advance();
    Soften(unit, 0, s, factor);
    Pack(s, p);
    const int tiles = unit.Tiles();
    for (int tile = 1; tile < tiles; ++tile) {
      shared.keys.Wait(keys);
      WaitForTurn(group);
      MultiplyKeys(s);
      shared.values.Wait(values);
      MultiplyValues(o, p, tile > 1);
      GiveTurn(group);
      ptx::ProductWait<1>();
      ptx::HoldRegisters(s);
      shared.keys.Release(keys);
      keys.Advance();
      Soften(unit, tile, s, factor);
      ptx::ProductWait<0>();
      ptx::HoldRegisters(o);
      shared.values.Release(values);
      values.Advance();
      ScaleRows(o, factor);
      Pack(s, p);
    }
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::BarrierArrive(&shared.query_empty);
    shared.values.Wait(values);
    MultiplyValues(o, p, tiles > 1);
    ptx::ProductWait<0>();
    ptx::HoldRegisters(o);
    shared.values.Release(values);
    values.Advance();
  }

  __device__ void Store(const Unit& unit, float (&o)[kOutputs]) {
    const int warp = static_cast<int>(threadIdx.x) / 32 - 4;
    const float factor[2] = {1.0F / QuadSum(state.sum[0]), 1.0F / QuadSum(state.sum[1])};
    ScaleRows(o, factor);
    const int64_t row_bytes = static_cast<int64_t>(task.shape.query_heads) * kValueDim * 2;
    const prefill::RowTarget target{
        .rows = reinterpret_cast<uint8_t*>(task.out) + unit.head * kValueDim * 2,
        .row_bytes = row_bytes,
        .first_row = unit.query_row + warp * prefill::kWarpRows,
        .row_end = unit.query_end,
        .valid_bytes = kValueDim * 2};
    prefill::StoreBf16<kValueDim>(o, shared.staging[warp], target);
  }

  __device__ void Run() {
    if (group == 1) GiveTurn(group);
    for (uint32_t pass = 0;; ++pass) {
      ptx::BarrierWait(&shared.query_full, pass % 2);
      const Unit unit = shared.unit;
      if (unit.sequence == Unit::kNoSequence) break;
      float o[kOutputs];
      Attend(unit, o);
      Store(unit, o);
    }
    if (group == 0) WaitForTurn(group);  // the one given back last
  }
};

template <int kKeyDim, int kValueDim>
__global__ void __launch_bounds__(kThreads, 1)
    AttendPrefillKernel(const __grid_constant__ Maps maps, const __grid_constant__ Task task) {
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<Shared<kKeyDim, kValueDim>*>(shared_bytes);
  if (threadIdx.x == 0) {
    ptx::PrefetchMap(&maps.query);
    ptx::PrefetchMap(&maps.key);
    ptx::PrefetchMap(&maps.value);
    shared.Init();
  }
  __syncthreads();
  ptx::GridDependencyWait();
  ptx::GridDependencyLaunch();
  const int group = static_cast<int>(threadIdx.x) / 128 - 1;
  if (group < 0) {
    ptx::ReleaseRegisters<kCopyRegisters>();
    if (threadIdx.x < 32) Copier<kKeyDim, kValueDim>{shared, maps, task}.Run();
  } else {
    ptx::ClaimRegisters<kConsumerRegisters>();
    Consumer<kKeyDim, kValueDim>{shared, task, group}.Run();
  }
}

CUtensorMap RowsMap(const HeadRows& rows, int64_t count, int heads, int dim) {
  return EncodeTensorMap({.data = rows.data,
                          .element = MapElement::kBf16,
                          .rows = count,
                          .columns = static_cast<int64_t>(heads) * dim,
                          .row_stride = rows.stride,
                          .box_rows = kKeyRows,
                          .box_columns = kBlockColumns});
}

template <int kKeyDim, int kValueDim>
void LaunchAttend(const Task& task, cudaStream_t stream) {
  const AttendPrefillShape& shape = task.shape;
  const Maps maps{.query = RowsMap(task.chunk.query, shape.query_rows, shape.query_heads, kKeyDim),
                  .key = RowsMap(task.chunk.key, shape.key_rows, shape.kv_heads, kKeyDim),
                  .value = RowsMap(task.chunk.value, shape.key_rows, shape.kv_heads, kValueDim)};
  Launch(AttendPrefillKernel<kKeyDim, kValueDim>,
         {PersistentBlocks(), kThreads, sizeof(Shared<kKeyDim, kValueDim>)}, stream, maps, task);
}

}  // namespace
}  // namespace attend

void AttendPrefill(const AttendPrefillShape& shape, const AttendChunk& chunk,
                   const AttendPast& past, __nv_bfloat16* out, uint32_t* counters,
                   cudaStream_t stream) {
  constexpr float kLog2E = 1.44269504F;
  const bool has_past = past.tokens != nullptr;
  const attend::Task task{.shape = shape,
                          .chunk = chunk,
                          .past = past,
                          .out = out,
                          .counters = counters,
                          .scale = shape.scale * kLog2E};
  const auto is = [&](int key_dim, int value_dim) {
    return shape.key_dim == key_dim && shape.value_dim == value_dim;
  };
  const bool known = is(128, 128) || is(64, 64) || (is(192, 128) && !has_past);
  if (!known)
    throw CudaError("AttendPrefill: key_dim " + std::to_string(shape.key_dim) + ", value_dim " +
                    std::to_string(shape.value_dim) + (has_past ? " with a cached past" : "") +
                    "; known are 64 and 64, 128 and 128, and without one 192 and 128");
  if (has_past) attend::ExpandPast(shape, past, stream);
  if (is(128, 128)) return attend::LaunchAttend<128, 128>(task, stream);
  if (is(64, 64)) return attend::LaunchAttend<64, 64>(task, stream);
  attend::LaunchAttend<192, 128>(task, stream);
}

}  // namespace moecast::kernels
