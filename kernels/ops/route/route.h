// Routing of one MoE layer: gate scores, the experts of every token by a RoutingRule, and the
// alignment that expert products read. Two launches: the gate product split along K, then one
// cluster of blocks that selects, a warp per token, and compacts the slots by expert. From 257
// tokens on, unless a rule asks the whole batch first, selection and compaction are launches of as
// many blocks as the tokens fill. A skipped slot carries the id E, has position -1 and no row: it
// takes part in nothing.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/ops/expert_shape.h"
#include "kernels/ops/route/routing_rule.h"

namespace moecast::kernels {

inline constexpr int kMaxExperts = 512;
inline constexpr int kMaxTopK = 16;
inline constexpr int kMaxGroups = 32;
inline constexpr int kMaxTokens = 16384;

/// Device buffers of the routing of one layer; E experts, T tokens, k slots per token at most.
struct RouteBuffers {
  float* partial_logits = nullptr;      // [PartialLogits(shape)]
  int32_t* expert_of_slot = nullptr;    // [T][k] chosen expert, or E where skipped
  float* weight_of_slot = nullptr;      // [T][k] gate weight after renormalisation, 0 where skipped
  int32_t* position_of_slot = nullptr;  // [T][k] row of the compacted slot in act and y, or -1
  int32_t* active_experts = nullptr;    // [E] ascending; the first *active_count are used
  int32_t* active_count = nullptr;      // [1] D
  int32_t* offsets = nullptr;           // [E + 1] the first D + 1 are used
  int32_t* slot_token = nullptr;        // [T * k] rows of one expert are in token order
};

/// Elements of the scratch: the gate product's K is split, and every split has its own sums; behind
/// them the rows that blocks of many tokens have of every expert. More tokens never take less.
size_t PartialLogits(const ExpertShape& shape);

/// REQUIRES: hidden % 64 == 0, experts <= kMaxExperts, top_k <= min(kMaxTopK, experts),
/// 1 <= tokens <= kMaxTokens; groups as in ScoreRule, at most kMaxGroups, of at least two experts
/// when kLimited.
///   x      [tokens, hidden] bf16 row-major
///   gate   [experts rounded up to 16, hidden] bf16 in fragment order
///   bias   [experts], or nullptr for none
/// Ties go to the lower expert. The result is a function of the inputs, to the bit.
void Route(const ExpertShape& shape, const RoutingRule& rule, const __nv_bfloat16* x,
           const __nv_bfloat16* gate, const float* bias, const RouteBuffers& buffers,
           cudaStream_t stream);

/// out[t, :] = sum over kept slots of weight * y[position, :], bf16.
void Combine(const ExpertShape& shape, const RouteBuffers& buffers, const __nv_bfloat16* y,
             __nv_bfloat16* out, cudaStream_t stream);

}  // namespace moecast::kernels
