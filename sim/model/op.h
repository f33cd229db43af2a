// Op: the shape of one GPU operation on one rank; enough to compute bytes and FLOPs, nothing else.
// Spans and format pointers refer to the caller's step and model; an Op lives as long as one step.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "sim/model/extra_operation.h"
#include "sim/model/kv_scheme.h"
#include "sim/model/selection_kind.h"
#include "sim/model/step_shape.h"
#include "sim/model/tensor_format.h"
#include "sim/model/weight_read.h"

namespace moecast {

/// Which weights a dense GEMM multiplies.
enum class GemmRole {
  kQkv,
  kAttentionOut,
  kMlaDown,         // hidden -> latents of queries and keys/values
  kMlaQueryUp,      // query latent (or hidden) -> query heads
  kMlaKeyValueUp,   // cached latent -> keys and values, prefill only
  kMlaAbsorbQuery,  // query heads -> latent space, decode only
  kMlaAbsorbValue,  // latent space -> value heads, decode only
  kLinearAttentionIn,
  kLinearAttentionOut,
  kDenseGateUp,
  kDenseDown,
  kSharedGateUp,
  kSharedDown,
  kRouter,
  kLmHead,
};

/// `batch` independent products [rows, k] x [k, n] with weights stored in *format.
struct Gemm {
  GemmRole role = GemmRole::kQkv;
  int64_t rows = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t batch = 1;
  const TensorFormat* format = nullptr;
  double activation_bytes = 0;  // per element of outputs, and of inputs unless the format says
  WeightRead read{};
};

/// Routed experts of every MoE layer over all expert-parallel ranks: gather, gate-up, SwiGLU, down,
/// weighted combine. A layer waits for its slowest rank. When every rank holds every token
/// (`tokens_replicated`), its intermediate buffers span all assignments of the layer, local or not.
struct ExpertGemm {
  std::span<const ExpertLoad> loads{};  // [moe_layer][rank]
  int64_t ranks = 1;
  bool tokens_replicated = false;
  int64_t hidden = 0;
  int64_t intermediate = 0;  // of one expert on one GPU (I / expert_tensor)
  const TensorFormat* format = nullptr;
  double activation_bytes = 0;
  WeightRead read{};
  int64_t inner_router_width = 0;              // of an expert; in activation format
  const TensorFormat* mixed_format = nullptr;  // of ExpertLoad's mixed experts; null: none
};

/// All-to-all of every MoE layer: tokens travel to their experts' GPUs and back. The fullest rank
/// receives min(assignments, row_cap) rows: a token visits a rank once, however many of its experts
/// live there.
struct ExpertExchange {
  std::span<const ExpertLoad> loads{};  // [moe_layer][rank]
  int64_t ranks = 1;                    // expert-parallel ranks
  int64_t gpus = 1;                     // GPUs that exchange
  double row_cap = 0;                   // tokens of the step over all groups
  double bytes_per_row = 0;
};

/// Gate scores, top-k, skip rule and alignment of `rows` tokens over `experts` experts.
struct RouteTokens {
  int64_t rows = 0;
  int64_t experts = 0;
  int64_t top_k = 0;
  SelectionKind selection = SelectionKind::kNative;  // the skip rule
};

/// How one layer's cached keys and values lie on this rank: what tells one attention kernel from
/// another.
struct KvLayout {
  std::string_view scheme{};   // name of the KV scheme; measured kernels carry it as their format
  bool latent = false;         // MLA: one latent per token, shared by all query heads
  int64_t kv_heads = 0;        // on this rank; 1 for a latent
  int64_t head_dim = 0;        // elements of a key; of a latent and its rotary part together
  int64_t value_head_dim = 0;  // elements of a value; of a latent the part that values are made of
  double key_bits = 0;         // of one code, without scales
  double value_bits = 0;
  int64_t group = 0;     // elements that share a scale; 0: no scales
  int64_t residual = 0;  // most tokens of a sequence that are kept unquantised; 0: none
};

/// Decode attention over paged KV: one query per sequence, `context` cached tokens in total.
struct DecodeAttention {
  int64_t sequences = 0;
  int64_t context = 0;
  int64_t longest_context = 0;         // cached tokens of the longest sequence
  int64_t heads = 0;                   // query heads on this rank
  double kv_bytes_per_token = 0;       // read per cached token on this rank and layer
  double query_bytes_per_token = 0;    // query in and output out
  double flops_per_context_token = 0;  // QK^T and PV for all heads of this rank
  std::array<double, kNarrowWidthCount> narrow_bytes{};  // of the cache, read in codes of a width
  KvLayout kv{};
};

/// Prefill attention, causal over past and chunk.
struct PrefillAttention {
  int64_t sequences = 0;        // chunks, of one sequence each
  int64_t tokens = 0;           // query tokens
  double pairs = 0;             // (query, key) pairs
  int64_t context = 0;          // cached tokens read
  int64_t longest_context = 0;  // of one chunk
  int64_t heads = 0;
  double kv_bytes_per_token = 0;
  double query_bytes_per_token = 0;
  double flops_per_pair = 0;
  KvLayout kv{};
};

/// Recurrent state of linear attention: read and written once per sequence, updated by every token.
struct LinearAttentionScan {
  int64_t sequences = 0;
  int64_t tokens = 0;
  double state_bytes_per_sequence = 0;
  double bytes_per_token = 0;
  double flops_per_token = 0;
};

/// Scores `context` cached tokens to choose those that the next queries attend to.
struct SelectTokens {
  int64_t context = 0;
  double bytes_per_context_token = 0;
  double flops_per_context_token = 0;
};

/// kAppend: new tokens enter the cache. kFlush: tokens leave a window for narrower codes. kConvert:
/// a sequence is rewritten for another way of keeping it.
enum class KvWrite { kAppend, kFlush, kConvert };

/// Writes keys and values of `tokens` tokens into the cache.
struct KvAppend {
  KvWrite write = KvWrite::kAppend;
  int64_t tokens = 0;
  int64_t chunk_tokens = 0;    // of them of prompts' chunks, or moved by those
  double bytes_per_token = 0;  // read in one format and written in another
  KvLayout kv{};
};

enum class ElementwiseRole {
  kNorm,
  kRope,
  kActivation,
  kEmbedding,
  kSampling,
  kMlaPast,  // cached latents become rows that keys and values are expanded from, prefill only
  kMlaKeys   // rotary parts are put beside expanded keys, prefill only
};
/// Memory-bound op: reads and writes `bytes_per_row` in total per row.
struct Elementwise {
  ElementwiseRole role = ElementwiseRole::kNorm;
  int64_t rows = 0;
  double bytes_per_row = 0;
};

/// One execution of an extra operation over `rows` rows.
struct ExtraWork {
  int64_t rows = 0;
  const ExtraOperation* what = nullptr;
};

enum class CollectiveKind { kAllReduce, kAllGather, kReduceScatter, kAllToAll };
/// A collective over `ranks` GPUs. `bytes` is what one GPU contributes: its whole vector for
/// all-reduce and reduce-scatter, its shard for all-gather, everything it sends (or, if more,
/// receives), its own share included, for all-to-all.
struct Collective {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  int64_t ranks = 1;
  double bytes = 0;
};

using Op =
    std::variant<Gemm, ExpertGemm, ExpertExchange, RouteTokens, DecodeAttention, PrefillAttention,
                 SelectTokens, LinearAttentionScan, KvAppend, Elementwise, Collective, ExtraWork>;

/// "gemm.qkv", "experts", "attention.decode", "collective.all_reduce", ...
std::string_view OpName(const Op& op);

}  // namespace moecast
