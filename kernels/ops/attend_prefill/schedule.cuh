// Which unit of work comes next: 128 query rows of one sequence and query head. Rows from the end
// of a sequence come first, they see the most keys. Heads run fastest, but only so many at a time
// as L2 holds keys and values of: blocks that run together read the same ones.
#pragma once

#include <cstdint>

#include "kernels/ops/attend_prefill/past_tiles.cuh"

namespace moecast::kernels::attend {

constexpr int kQueryRows = 128;             // of a unit
constexpr int64_t kSharedBytes = 24 << 20;  // of keys and values that blocks share through L2

struct Unit {
  int head = 0;
  int sequence = kNoSequence;
  int query_row = 0;  // first row of the unit
  int query_end = 0;  // of the sequence
  int key_begin = 0;  // first key row of the sequence
  int visible = 0;    // keys of the chunk that some row of the unit sees
  int first_key = 0;  // position among them of the key that belongs to query_row
  int past = 0;       // tokens in the cache
  int past_tile = 0;  // of all sequences, where this one's begin
  // Position, counted from the start of the past, of the first key that query_row sees; each row
  // behind it sees from one further on.
  int low = kNoWindow;

  static constexpr int kNoSequence = -1;  // there is no further unit
  static constexpr int kNoWindow = -(1 << 30);

  // Tiles of the chunk end where the visible keys end, so that no row behind them is read; those of
  // the past start at its beginning.
  __device__ int ChunkTiles() const {
    return (visible - max(low - past, 0) + kKeyRows - 1) / kKeyRows;
  }
  __device__ int FirstPastTile() const { return max(low, 0) / kKeyRows; }
  __device__ int PastTiles() const { return low >= past ? 0 : TilesOfPast(past) - FirstPastTile(); }
  __device__ int Tiles() const { return ChunkTiles() + PastTiles(); }
  // First row of chunk tile `tile`, which may lie in front of key_begin.
  __device__ int TileRow(int tile) const { return key_begin + visible - (tile + 1) * kKeyRows; }
};

// One warp's walk through the units in ascending order.
class UnitWalk {
 public:
  __device__ UnitWalk(const AttendPrefillShape& shape, const AttendChunk& chunk,
                      const AttendPast& past)
      : shape_(shape), chunk_(chunk), past_(past) {}

  // Unit number `index`. REQUIRES: the whole warp; indices ascend from call to call.
  __device__ Unit Find(int index) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (; first_ < shape_.sequences; first_ += 32) {
      const int sequence = min(first_ + lane, shape_.sequences - 1);
      const int begin = chunk_.offsets[sequence];
      const int end = chunk_.offsets[sequence + 1];
      const int tiles =
          first_ + lane < shape_.sequences ? (end - begin + kQueryRows - 1) / kQueryRows : 0;
      const int upto = InclusiveSum(tiles);
      const int all = __shfl_sync(kWarp, upto, 31) * shape_.query_heads;
      if (index < units_before_ + all) {
        const int tile = (index - units_before_) / shape_.query_heads;
        const int owner = __ffs(static_cast<int>(__ballot_sync(kWarp, upto > tile))) - 1;
        const int owned = __shfl_sync(kWarp, tiles, owner);
        const int before = __shfl_sync(kWarp, upto, owner) - owned;
        Unit unit =
            Describe(first_ + owner, owned, index - units_before_ - before * shape_.query_heads);
        if (past_.tokens != nullptr) unit.past_tile = PastTilesBefore(first_ + owner);
        return unit;
      }
      units_before_ += all;
    }
    return {};
  }

 private:
  static constexpr uint32_t kWarp = 0xffffffffU;

  __device__ static int InclusiveSum(int value) {
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(kWarp, value, step);
      if (static_cast<int>(threadIdx.x) % 32 >= step) value += left;
    }
    return value;
  }

  // Tiles of the past of all sequences before `sequence`, which ascends from call to call.
  __device__ int PastTilesBefore(int sequence) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (; past_counted_ < sequence; past_counted_ = min(past_counted_ + 32, sequence)) {
      const int counted = past_counted_ + lane;
      past_tiles_ +=
          __reduce_add_sync(kWarp, counted < sequence ? TilesOfPast(past_.tokens[counted]) : 0);
    }
    return past_tiles_;
  }

  // Query heads whose keys and values L2 holds together.
  __device__ int HeadsTogether(int keys) const {
    const int64_t bytes = static_cast<int64_t>(keys) * (shape_.key_dim + shape_.value_dim) * 2;
    const int64_t kv_heads = max(kSharedBytes / max(bytes, int64_t{1}), int64_t{1});
    return static_cast<int>(min(kv_heads, static_cast<int64_t>(shape_.kv_heads))) *
           (shape_.query_heads / shape_.kv_heads);
  }

  // Unit `local` of a sequence of `tiles` query tiles.
  __device__ Unit Describe(int sequence, int tiles, int local) const {
    const int* const key_offsets = chunk_.key_offsets ? chunk_.key_offsets : chunk_.offsets;
    Unit unit{.sequence = sequence};
    unit.query_end = chunk_.offsets[sequence + 1];
    unit.key_begin = key_offsets[sequence];
    if (past_.tokens != nullptr) unit.past = past_.tokens[sequence];
    const int keys = key_offsets[sequence + 1] - unit.key_begin;
    const int together = HeadsTogether(keys + unit.past);
    const int first_head = local / (tiles * together) * together;
    const int heads = min(together, shape_.query_heads - first_head);
    const int rest = local - first_head * tiles;
    unit.head = first_head + rest % heads;
    unit.query_row = chunk_.offsets[sequence] + (tiles - 1 - rest / heads) * kQueryRows;
    unit.first_key = keys - (unit.query_end - unit.query_row);
    unit.visible = min(keys, unit.first_key + kQueryRows);
    if (shape_.window > 0) unit.low = unit.past + unit.first_key - shape_.window + 1;
    return unit;
  }

  const AttendPrefillShape& shape_;
  const AttendChunk& chunk_;
  const AttendPast& past_;
  int first_ = 0;         // sequence of lane 0
  int units_before_ = 0;  // units of sequences before it
  int past_counted_ = 0;  // sequences whose tiles past_tiles_ has
  int past_tiles_ = 0;
};

}  // namespace moecast::kernels::attend
