// ModelSpec: the shape of a transformer, dense or Mixture-of-Experts; facts only, no policy.
// Values come from scenarios/catalog/models/*.yaml or `moecast import model config.json`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/model/extra_operation.h"
#include "sim/model/tensor_format.h"
#include "sim/model/weight_read.h"

namespace moecast {

/// Grouped-query attention; full when every query head has its own key/value head.
struct GqaAttention {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;        // of queries and keys
  int64_t value_head_dim = 0;  // equal to head_dim in most models
};

/// Multi-head latent attention: one latent vector per token is cached. [DeepSeekV2]
struct MlaAttention {
  int64_t heads = 0;
  std::optional<int64_t> q_lora_rank{};  // absent: queries projected directly
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
};

using Attention = std::variant<GqaAttention, MlaAttention>;

/// Linear attention with a constant-size state instead of a KV cache (Qwen3-Next's gated delta
/// net).
struct LinearAttention {
  int64_t key_heads = 0;
  int64_t value_heads = 0;
  int64_t key_head_dim = 0;
  int64_t value_head_dim = 0;
  int64_t conv_width = 0;
};

enum class AttentionKind { kFull, kSlidingWindow, kLinear };
enum class FeedForwardKind { kDense, kMoe };

/// One transformer layer: which attention it runs and which feed-forward block follows.
struct LayerSpec {
  AttentionKind attention = AttentionKind::kFull;
  FeedForwardKind feed_forward = FeedForwardKind::kDense;
  friend bool operator==(const LayerSpec&, const LayerSpec&) = default;
};

/// How gate scores become expert choices.
enum class GateScoring {
  kSoftmax,
  kSoftmaxAfterTopK,
  kSigmoid,
  kSigmoidBias,
  kSparsemixer,
  kGroupSoftmax
};

/// The MoE block shared by all MoE layers.
struct MoeSpec {
  int64_t experts = 0;              // routed experts E per layer
  int64_t top_k = 0;                // native experts per token
  int64_t expert_intermediate = 0;  // I of one routed expert
  int64_t shared_experts = 0;
  int64_t shared_intermediate = 0;  // total I over the shared experts
  GateScoring scoring = GateScoring::kSoftmax;
  bool renormalise = false;  // kept gate weights sum to one
  double routed_scale = 1.0;
  int64_t groups = 1;  // expert groups for group-limited routing; 1: off
  int64_t top_groups = 1;
  int64_t router_matrices = 1;  // hidden x experts each; CMoE's router has two
  /// Hidden x this matrix inside each expert that chooses among the expert's slices; 0: none.
  int64_t inner_router_width = 0;
};

/// Some experts of every MoE layer stored in another format than the rest.
struct ExpertMix {
  TensorFormat format{};
  std::vector<int64_t> experts{};  // ascending ids, the same in every MoE layer
};

/// Storage of each tensor class.
struct WeightFormats {
  TensorFormat attention{};
  TensorFormat dense_ffn{};
  TensorFormat experts{};
  TensorFormat embeddings{};   // token embedding, and LM head unless it has its own
  TensorFormat activations{};  // between ops
  std::optional<TensorFormat> shared_experts{};  // absent: as dense_ffn
  std::optional<TensorFormat> lm_head{};         // absent: as embeddings
  std::optional<ExpertMix> mix{};

  [[nodiscard]] const TensorFormat& of_shared_experts() const {
    return shared_experts ? *shared_experts : dense_ffn;
  }
  [[nodiscard]] const TensorFormat& of_lm_head() const { return lm_head ? *lm_head : embeddings; }
};

/// Which part of its weights a product reads, by tensor class.
struct WeightReads {
  WeightRead attention{};
  WeightRead dense_ffn{};  // shared experts too
  WeightRead experts{};
};

/// A model's shape. Immutable after its codec validated it.
struct ModelSpec {
  std::string name{};
  int64_t hidden = 0;
  int64_t vocabulary = 0;
  int64_t max_positions = 0;
  bool tied_embeddings = false;
  Attention attention{};
  std::optional<LinearAttention> linear_attention{};  // present iff a layer is kLinear
  int64_t sliding_window = 0;                         // tokens; 0 iff no layer is kSlidingWindow
  bool attention_output_gate = false;  // GQA only: one gate per attention output element
  int64_t dense_intermediate = 0;      // 0 iff no layer is dense
  std::optional<MoeSpec> moe{};        // present iff a layer is kMoe
  std::vector<LayerSpec> layers{};
  WeightFormats formats{};
  WeightReads reads{};
  int64_t cuts = 0;  // places where consecutive layers were removed
  std::vector<ExtraOperation> extras{};

  [[nodiscard]] int64_t layer_count() const { return static_cast<int64_t>(layers.size()); }
  [[nodiscard]] int64_t moe_layer_count() const;
  [[nodiscard]] int64_t attention_layer_count(AttentionKind kind) const;
};

/// How often a step runs an extra operation.
int64_t Executions(const ModelSpec& model, const ExtraOperation& extra);

/// Weights of the matrices (no norms, biases or attention sinks, which are below 0.1 %), extra
/// operations included; `active` counts those that a token is multiplied with (top-k routed
/// experts, inputs and slices that are not left out) and both embedding matrices.
/// docs/model/shapes.md, "Parameters".
struct ParameterCount {
  double total = 0;
  double active = 0;
};
ParameterCount CountParameters(const ModelSpec& model);
/// Multiply-adds of one token without attention over the cache: every active weight but a table
/// that is only looked up.
double MultiplyAddsPerToken(const ModelSpec& model);

/// KV-cache elements per token of one full or sliding-window attention layer
/// (GQA: kv_heads * (head_dim + value_head_dim); MLA: kv_lora_rank + qk_rope_head_dim).
int64_t KvElementsPerTokenLayer(const ModelSpec& model);

}  // namespace moecast
