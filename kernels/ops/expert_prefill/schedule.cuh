// Which unit of work comes next: (token tile, weight tile) of one expert, found from the routing
// without a counter in global memory. Blocks take every gridDim-th unit.
//
// Token tiles run fastest, at most kGroup of an expert at a time: blocks that run together then
// read few weight tiles and few token tiles, which L2 holds, and the weights pass by once a group.
#pragma once

#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "kernels/ops/route/route.h"

namespace moecast::kernels::prefill {

constexpr int kGroup = 16;

struct Unit {
  int expert = 0;
  int first_row = 0;    // of the token tile
  int row_end = 0;      // of the expert
  int weight_tile = 0;  // kNoMore: there is no further unit
};
constexpr int kNoMore = -1;

__device__ inline int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Fills units_before[0..D] with the units of all experts before each; one warp.
__device__ inline void CountUnits(const ExpertSlots& slots, int weight_tiles,
                                  int32_t* units_before) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int active = *slots.active_count;
  int total = 0;
  for (int first = 0; first < active; first += 32) {
    const int position = first + lane;
    int units = 0;
    if (position < active)
      units = CeilDiv(slots.offsets[position + 1] - slots.offsets[position], kPrefillTileRows) *
              weight_tiles;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(0xffffffffU, units, step);
      if (lane >= step) units += left;
    }
    if (position < active) units_before[position + 1] = total + units;
    total += __shfl_sync(0xffffffffU, units, 31);
  }
  if (lane == 0) units_before[0] = 0;
}

// Unit number `index`. COST: a search over the active experts; for the one thread that copies.
__device__ inline Unit FindUnit(const ExpertSlots& slots, int weight_tiles,
                                const int32_t* units_before, int active, int index) {
  if (index >= units_before[active]) return {.weight_tile = kNoMore};
  int low = 0;
  for (int high = active; high - low > 1;) {
    const int middle = (low + high) / 2;
    if (units_before[middle] <= index) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int first = slots.offsets[low];
  const int row_end = slots.offsets[low + 1];
  const int tiles = CeilDiv(row_end - first, kPrefillTileRows);
  const int group_tiles = CeilDiv(tiles, CeilDiv(tiles, kGroup));  // groups of nearly one size
  const int local = index - units_before[low];
  const int group = local / (group_tiles * weight_tiles);
  const int in_group = min(group_tiles, tiles - group * group_tiles);
  const int rest = local - group * group_tiles * weight_tiles;
  return {.expert = slots.active_experts[low],
          .first_row = first + (group * group_tiles + rest % in_group) * kPrefillTileRows,
          .row_end = row_end,
          .weight_tile = rest / in_group};
}

}  // namespace moecast::kernels::prefill
