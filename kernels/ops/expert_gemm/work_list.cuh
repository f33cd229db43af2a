// The work of one block: which weight rows it streams, in which order. The copying warp and the
// multiplying groups walk the same list, so nothing but stages passes between them.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/ops/expert_gemm/expert_gemm.h"

namespace moecast::kernels {

constexpr int kRowTiles = 4;                          // of a unit
constexpr int kUnitRows = kRowTiles * kFragmentRows;  // 64 weight rows
constexpr int kGroupSlots = 4 * kExpertTileRows;      // slots one group multiplies at once
constexpr int kPassSlots = 2 * kGroupSlots;           // slots per read of a unit's weights

constexpr int kNearSlots = 256;  // whose tokens are kept in shared memory

/// Arguments of a launch.
struct StreamArgs {
  ExpertShape shape;
  ExpertSlots slots;
  StoredExperts experts;
  bool gate_up;  // which products this launch makes
  bool down;
  const __nv_bfloat16* x;
  __nv_bfloat16* act;
  __nv_bfloat16* y;
  uint32_t* handoff;

  __device__ int GateUnits() const { return 2 * shape.intermediate / kUnitRows; }  // per expert
  __device__ int DownUnits() const { return shape.hidden / kUnitRows; }
};

/// Active experts and their offsets, in shared memory, and the slots' tokens, there if they fit.
struct ActiveExperts {
  const int32_t* expert;  // [count]
  const int32_t* offset;  // [count + 1]
  const int32_t* token;   // [slots]
  int count;
};

/// One read of a unit's weights for up to kPassSlots slots.
struct Pass {
  bool down;
  int position;    // in the active experts
  int expert;      // logical
  int unit;        // among the expert's units of this product
  int first_slot;  // of the pass
  int slots;       // in this pass
  int slots_of_expert;
};

/// Calls visit(pass) for every pass of this block: units u = block, block + grid, ... of the list
/// (gate-up units expert by expert, then down units expert by expert).
template <class Visit>
__device__ void ForEachPass(const StreamArgs& args, const ActiveExperts& active, Visit visit) {
  const int gate_units = args.gate_up ? active.count * args.GateUnits() : 0;
  const int all = gate_units + (args.down ? active.count * args.DownUnits() : 0);
  for (int u = static_cast<int>(blockIdx.x); u < all; u += static_cast<int>(gridDim.x)) {
    const bool down = u >= gate_units;
    const int in_product = down ? u - gate_units : u;
    const int units = down ? args.DownUnits() : args.GateUnits();
    Pass pass{.down = down, .position = in_product / units, .unit = in_product % units};
    pass.expert = active.expert[pass.position];
    const int first = active.offset[pass.position];
    pass.slots_of_expert = active.offset[pass.position + 1] - first;
    for (int base = 0; base < pass.slots_of_expert; base += kPassSlots) {
      pass.first_slot = first + base;
      pass.slots = min(kPassSlots, pass.slots_of_expert - base);
      visit(pass);
    }
  }
}

/// Columns a product sums over.
__device__ inline int Columns(const StreamArgs& args, const Pass& pass) {
  return pass.down ? args.shape.intermediate : args.shape.hidden;
}

}  // namespace moecast::kernels
