// Which unit of work comes next: 128 query rows of one sequence and query head. Rows from the end
// of a sequence come first, they see the most keys; heads run fastest, so that blocks which run
// together read the same keys.
#pragma once

#include <cstdint>

#include "kernels/ops/attend_prefill/attend_prefill.h"

namespace moecast::kernels::attend {

constexpr int kQueryRows = 128;  // of a unit
constexpr int kKeyRows = 128;    // of a tile

struct Unit {
  int head = 0;
  int sequence = kNoSequence;
  int query_row = 0;  // first row of the unit
  int query_end = 0;  // of the sequence
  int key_begin = 0;  // first key row of the sequence
  int visible = 0;    // keys of the chunk that some row of the unit sees
  int first_key = 0;  // position among them of the key that belongs to query_row
  int past = 0;       // tokens in the cache

  static constexpr int kNoSequence = -1;  // there is no further unit

  // Tiles of the chunk end where the visible keys end, so that no row behind them is read; those of
  // the past start at its beginning.
  __device__ int ChunkTiles() const { return (visible + kKeyRows - 1) / kKeyRows; }
  __device__ int PastTiles() const { return (past + kKeyRows - 1) / kKeyRows; }
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
        // Counted from the end of the sequence.
        const int position = __shfl_sync(kWarp, upto, owner) - 1 - tile;
        return Describe(first_ + owner, position, (index - units_before_) % shape_.query_heads);
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

  __device__ Unit Describe(int sequence, int tile, int head) const {
    const int* const key_offsets = chunk_.key_offsets ? chunk_.key_offsets : chunk_.offsets;
    const int query_begin = chunk_.offsets[sequence];
    Unit unit{.head = head, .sequence = sequence};
    unit.query_row = query_begin + tile * kQueryRows;
    unit.query_end = chunk_.offsets[sequence + 1];
    unit.key_begin = key_offsets[sequence];
    const int keys = key_offsets[sequence + 1] - unit.key_begin;
    unit.first_key = keys - (unit.query_end - unit.query_row);
    unit.visible = min(keys, unit.first_key + kQueryRows);
    if (past_.tokens != nullptr) unit.past = past_.tokens[sequence];
    return unit;
  }

  const AttendPrefillShape& shape_;
  const AttendChunk& chunk_;
  const AttendPast& past_;
  int first_ = 0;         // sequence of lane 0
  int units_before_ = 0;  // units of sequences before it
};

}  // namespace moecast::kernels::attend
