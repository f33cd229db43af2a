// Routed experts of one MoE layer in the compute-bound regime: permutation, gate-up + SwiGLU, down.
//
// Both products are one persistent grid each: a copy thread fills a ring of shared memory through
// tensor maps, two warpgroups multiply. Work is (token tile of one expert, weight tile) units found
// on the device from the routing; experts without tokens and skipped slots produce no unit.
// docs/kernels.md, "Compute-bound form (prefill)".
//
// Contract shared by all launches:
//   - pointers are device memory, 16-byte aligned, weights and rows 128-byte aligned;
//     hidden and intermediate are multiples of 64;
//   - launches go to `stream`, nothing is allocated, nothing synchronises; capturable in a graph;
//   - the grid is fixed by the card, the work by the device-side routing;
//   - rows of activations are slots in ExpertSlots order; R = tokens * top_k is their capacity.
// ERRORS: CudaError, also when the card is no Hopper.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_shape.h"
#include "kernels/ops/weight_format.h"

namespace moecast::kernels {

/// Token rows of one unit of a product, what rows of an expert are padded to in its arithmetic.
inline constexpr int kPrefillTileRows = 128;

/// Activations of R rows as a product reads them.
///   format     values          scale
///   bf16, int4 [R, columns] bf16   none
///   fp8        [R, columns] e4m3   static_scale, what a code is multiplied with
///   fp8_block  [R, columns] e4m3   block_scale [ceil(columns / 128)][R], likewise
struct PrefillRows {
  void* values = nullptr;
  float* block_scale = nullptr;
  float static_scale = 1;
};

/// Weights of one layer, E experts of H = hidden, I = intermediate. Row-major where not int4:
///   gate_up  [E][2 I, H], all gate rows of an expert before its up rows
///   down     [E][H, I]
///   scales   fp8        gate_up [E][2] (gate, up), down [E], float32
///            fp8_block  gate_up [E][2][ceil(I / 128)][ceil(H / 128)],
///                       down [E][ceil(H / 128)][ceil(I / 128)], float32
/// int4: codes as PackInt4Codes and scales as PackInt4Scales write them (pack.h) from matrices of
///   [2 I, H], whose 16-row tiles alternate gate, up, and of [H, I].
struct PrefillWeights {
  WeightFormat format = WeightFormat::kBf16;
  const void* gate_up = nullptr;
  const void* down = nullptr;
  const void* gate_up_scale = nullptr;
  const void* down_scale = nullptr;
};

/// rows[position_of_slot[t, j]] = x[t] for every kept slot, quantised as `format` asks: fp8 with
/// rows.static_scale, fp8_block with the amax / 448 of each 128 columns.
///   x                 [tokens, hidden] bf16 row-major
///   position_of_slot  [tokens, top_k], -1 where skipped
/// COST: reads x once, writes every kept row once.
void PermuteTokens(const ExpertShape& shape, WeightFormat format, const int32_t* position_of_slot,
                   const __nv_bfloat16* x, const PrefillRows& rows, cudaStream_t stream);

/// act[slot, i] = silu(x[slot] . gate_i) * (x[slot] . up_i), quantised as weights.format asks.
void PrefillGateUp(const ExpertShape& shape, const ExpertSlots& slots,
                   const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                   cudaStream_t stream);

/// y[slot, h] = act[slot] . down_h, bf16 [R, hidden]; gate weights are applied by the combine op.
void PrefillDown(const ExpertShape& shape, const ExpertSlots& slots, const PrefillWeights& weights,
                 const PrefillRows& act, __nv_bfloat16* y, cudaStream_t stream);

/// The first rung of the ladder: the same products in bf16 with 16 x 16 tiles of shared memory and
/// fp32 multiply-adds.
void NaivePrefillGateUp(const ExpertShape& shape, const ExpertSlots& slots,
                        const PrefillWeights& weights, const PrefillRows& x, const PrefillRows& act,
                        cudaStream_t stream);
void NaivePrefillDown(const ExpertShape& shape, const ExpertSlots& slots,
                      const PrefillWeights& weights, const PrefillRows& act, __nv_bfloat16* y,
                      cudaStream_t stream);

}  // namespace moecast::kernels
