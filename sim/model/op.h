// Op: the shape of one GPU operation on one rank; enough to compute bytes and FLOPs, nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "sim/model/step_shape.h"
#include "sim/model/tensor_format.h"

namespace moecast {

/// Which weights or state a dense GEMM multiplies; for printing and for choosing an efficiency.
enum class GemmRole { kQkv, kAttentionOut, kMlaAbsorb, kDenseGateUp, kDenseDown, kSharedGateUp, kSharedDown, kRouter, kLmHead, kLinearAttention };

/// [rows, k] x [k, n] with weights stored in *format.
struct Gemm {
  GemmRole role;
  int64_t rows = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t batch = 1;  // independent products of this shape (MLA absorb: heads)
  const TensorFormat* format = nullptr;
};

/// Routed experts of one MoE layer over all expert-parallel ranks: gate-up, SwiGLU, down, combine.
/// The layer waits for the slowest rank.
struct ExpertGemm {
  std::span<const ExpertLoad> ranks;  // [expert_rank]
  int64_t hidden = 0;
  int64_t intermediate = 0;           // of one expert on one rank (I / expert_tensor)
  const TensorFormat* format = nullptr;
};

/// Gate scores, top-k, skip rule and alignment for `rows` tokens over `experts` experts.
struct RouteTokens {
  int64_t rows = 0;
  int64_t experts = 0;
  double top_k = 0;
};

/// Decode attention over paged KV: one query per sequence, `context` cached tokens in total.
struct DecodeAttention {
  int64_t sequences = 0;
  int64_t context = 0;
  int64_t heads = 0;                // query heads on this rank
  double kv_bytes_per_token = 0;    // read per cached token on this rank and layer
  double flops_per_context_token = 0;  // QK^T and PV for all heads of this rank
};

/// Prefill attention, causal over past and chunk.
struct PrefillAttention {
  int64_t tokens = 0;
  double pairs = 0;                 // (query, key) pairs
  int64_t context = 0;              // cached tokens read
  int64_t heads = 0;
  double kv_bytes_per_token = 0;
  double flops_per_pair = 0;
};

/// Writes new keys and values of `tokens` tokens into the cache.
struct KvAppend {
  int64_t tokens = 0;
  double bytes_per_token = 0;
};

enum class ElementwiseRole { kNorm, kRope, kActivation, kEmbedding, kSampling, kLinearAttentionState };
/// Memory-bound op: reads and writes `bytes_per_row` in total per row.
struct Elementwise {
  ElementwiseRole role;
  int64_t rows = 0;
  double bytes_per_row = 0;
};

enum class CollectiveKind { kAllReduce, kAllGather, kReduceScatter, kAllToAll };
/// A collective over `ranks` GPUs; `bytes` is what one GPU contributes (the fullest one's for all-to-all).
struct Collective {
  CollectiveKind kind;
  int64_t ranks = 1;
  double bytes = 0;
};

using Op = std::variant<Gemm, ExpertGemm, RouteTokens, DecodeAttention, PrefillAttention, KvAppend, Elementwise, Collective>;

/// "gemm.qkv", "experts", "attention.decode", "collective.all_reduce", ...
std::string_view OpName(const Op& op);

}  // namespace moecast
