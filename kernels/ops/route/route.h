// Routing of one MoE layer: gate scores, top-k, skip rule and the alignment that expert products
// read. Two launches: the gate product split along K, then one warp per token that selects,
// followed by the last block to finish, which compacts the slots by expert. Skipped slots take part
// in nothing.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/route/skip_rule.h"

namespace moecast::kernels {

inline constexpr int kMaxExperts = 512;
inline constexpr int kMaxTopK = 16;
/// Largest tokens * top_k that one block compacts.
inline constexpr int kMaxSlots = 8192;

/// Device buffers of the routing of one layer; E experts, T tokens, k slots per token at most.
struct RouteBuffers {
  float* partial_logits = nullptr;      // [GateSplits(hidden)][T][E]
  int32_t* expert_of_slot = nullptr;    // [T][k] chosen expert, or E where skipped
  float* weight_of_slot = nullptr;      // [T][k] gate weight after renormalisation, 0 where skipped
  int32_t* position_of_slot = nullptr;  // [T][k] row of the compacted slot in act and y, or -1
  int32_t* active_experts = nullptr;    // [E]
  int32_t* active_count = nullptr;      // [1] D
  int32_t* offsets = nullptr;           // [E + 1]
  int32_t* slot_token = nullptr;        // [T * k]
  uint32_t* blocks_done = nullptr;      // [1], zero before the first launch; left at zero
};

/// Parts into which the gate product's K is split.
int GateSplits(int hidden);

/// REQUIRES: hidden % 64 == 0, experts <= kMaxExperts, top_k <= kMaxTopK,
/// tokens * top_k <= kMaxSlots.
///   x      [tokens, hidden] bf16 row-major
///   gate   [experts rounded up to 16, hidden] bf16 in fragment order
/// Ties go to the lower expert. Scores are the softmax over all experts.
void Route(const ExpertShape& shape, const SkipRule& rule, Renormalise renormalise,
           const __nv_bfloat16* x, const __nv_bfloat16* gate, const RouteBuffers& buffers,
           cudaStream_t stream);

/// out[t, :] = sum over kept slots of weight * y[position, :], bf16.
void Combine(const ExpertShape& shape, const RouteBuffers& buffers, const __nv_bfloat16* y,
             __nv_bfloat16* out, cudaStream_t stream);

}  // namespace moecast::kernels
