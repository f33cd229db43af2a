// Routed experts of one MoE layer in the memory-bound regime: gate-up + SwiGLU, then down, in every
// WeightFormat.
//
// Weights stream from HBM once per active expert and 64 of its tokens, and are the M operand of the
// tensor-core product (swap-AB), so a handful of tokens wastes no weight bandwidth. Work is a list
// of (active expert, 64 weight rows) units; experts that got no token and skipped slots have none.
//
// Contract shared by the products:
//   - all pointers are device memory, 16-byte aligned; Streams(format, shape) holds;
//   - weights are in fragment order (fragment_order.h); activations are row-major bf16, and are
//     quantised in registers where the format asks for it;
//   - launches go to `stream`, nothing is allocated, nothing synchronises; capturable in a graph;
//   - the grid is one block per multiprocessor, the work follows from the device-side routing.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/expert_gemm/fragment_order.h"
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

/// The experts' weights of one layer.
struct StoredExperts {
  WeightFormat format = WeightFormat::kBf16;
  const void* gate_up = nullptr;  // [E][2I, H] packed; row tiles alternate gate, up
  const void* down = nullptr;     // [E][H, I] packed
  /// fp8_tensor: [E][2] of gate, of up. fp8_block: [E][2][ceil(I / 128)][ceil(H / 128)].
  const float* gate_up_scale = nullptr;
  /// fp8_tensor: [E]. fp8_block: [E][ceil(H / 128)][ceil(I / 128)].
  const float* down_scale = nullptr;
  float x_scale = 1;    // fp8_tensor: of x
  float act_scale = 1;  // fp8_tensor: of act
};

/// Reorders a row-major [rows, k] bf16 matrix into fragment order, on the host.
/// REQUIRES: rows % 16 == 0, k % 32 == 0.
inline void PackRows(const __nv_bfloat16* row_major, int64_t rows, int64_t k,
                     __nv_bfloat16* packed) {
  PackBf16(reinterpret_cast<const uint16_t*>(row_major), rows, k,
           reinterpret_cast<uint16_t*>(packed));
}

/// act[slot, i] = silu(x[token] . gate_i) * (x[token] . up_i), bf16.
///   x        [tokens, hidden]                         row-major
///   act      [tokens * top_k, intermediate]           row-major, slots in ExpertSlots order
void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
                  const __nv_bfloat16* x, __nv_bfloat16* act, cudaStream_t stream);

/// y[slot, h] = act[slot] . down_h, bf16, slots in ExpertSlots order; gate weights are applied by
/// the combine op.
void Down(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
          const __nv_bfloat16* act, __nv_bfloat16* y, cudaStream_t stream);

/// Both in one launch: a unit of the down product waits for its expert's rows of act only, and its
/// weights are requested before they are there.
///   handoff  [experts + 1], zero before the first launch; left at zero
void Experts(const ExpertShape& shape, const ExpertSlots& slots, const StoredExperts& experts,
             const __nv_bfloat16* x, __nv_bfloat16* act, __nv_bfloat16* y, uint32_t* handoff,
             cudaStream_t stream);

/// In bf16.
void GateUpSwiGlu(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* x,
                  const __nv_bfloat16* gate_up, __nv_bfloat16* act, cudaStream_t stream);
void Down(const ExpertShape& shape, const ExpertSlots& slots, const __nv_bfloat16* act,
          const __nv_bfloat16* down, __nv_bfloat16* y, cudaStream_t stream);

}  // namespace moecast::kernels
