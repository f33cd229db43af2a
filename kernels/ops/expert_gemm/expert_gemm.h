// Routed experts of one MoE layer in the memory-bound regime: gate-up + SwiGLU, then down.
//
// Weights stream from HBM exactly once per active expert and are the M operand of the tensor-core
// product (swap-AB), so a handful of tokens wastes no weight bandwidth. Work is a grid of
// (active expert, row tile) units; experts that got no token and skipped slots produce no unit.
//
// Contract shared by both products:
//   - all pointers are device memory, 16-byte aligned; hidden is a multiple of 64, intermediate of
//   32;
//   - weights are in fragment order (see PackRows); activations are row-major bf16;
//   - launches go to `stream`, nothing is allocated, nothing synchronises; capturable in a graph;
//   - the grid is fixed by (tokens, top_k, experts), the work by the device-side routing.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/expert_shape.h"

namespace moecast::kernels {

/// Routing of one layer after alignment, as written by the route op. Slots of one expert are
/// contiguous; a skipped slot is absent.
struct ExpertSlots {
  const int32_t* active_experts = nullptr;  // [experts]; the first *active_count are used
  const int32_t* active_count = nullptr;    // [1] D
  const int32_t* offsets =
      nullptr;  // [experts + 1] first slot of each active expert, by position in active_experts
  const int32_t* slot_token = nullptr;  // [tokens * top_k] token of each slot
};

/// Reorders a row-major [rows, k] bf16 matrix into fragment order, on the host. Tile (row tile r of
/// 16, column block c of 32) becomes 1024 contiguous bytes: for each half h, each lane l the 8
/// values it feeds to mma.m16n8k16. REQUIRES: rows % 16 == 0, k % 32 == 0.
void PackRows(const __nv_bfloat16* row_major, int64_t rows, int64_t k, __nv_bfloat16* packed);

/// act[slot, i] = silu(x[token] . gate_i) * (x[token] . up_i), bf16.
///   x        [tokens, hidden]                         row-major
///   gate_up  [experts][2 * intermediate, hidden]      fragment order; row tiles alternate gate, up
///   act      [tokens * top_k, intermediate]           row-major, slots in ExpertSlots order
void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream);

/// y[slot, h] = act[slot] . down_h, bf16, slots in ExpertSlots order; gate weights are applied by
/// the combine op.
///   down     [experts][hidden, intermediate]          fragment order
void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream);

}  // namespace moecast::kernels
