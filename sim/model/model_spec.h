// ModelSpec: the shape of a transformer, dense or Mixture-of-Experts; facts only, no policy.
// Values come from scenarios/catalog/models/*.yaml or `moecast import model config.json`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/model/tensor_format.h"

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
};

/// Storage of each tensor class.
struct WeightFormats {
  TensorFormat attention{};
  TensorFormat dense_ffn{};  // dense layers and shared experts
  TensorFormat experts{};
  TensorFormat embeddings{};   // token embedding and LM head
  TensorFormat activations{};  // between ops
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

  [[nodiscard]] int64_t layer_count() const { return static_cast<int64_t>(layers.size()); }
  [[nodiscard]] int64_t moe_layer_count() const;
  [[nodiscard]] int64_t attention_layer_count(AttentionKind kind) const;
};

/// Weights of the matrices (no norms, biases or attention sinks, which are below 0.1 %); `active`
/// counts top-k routed experts and both embedding matrices. docs/model/shapes.md, "Parameters".
struct ParameterCount {
  double total = 0;
  double active = 0;
};
ParameterCount CountParameters(const ModelSpec& model);

/// KV-cache elements per token of one full or sliding-window attention layer
/// (GQA: kv_heads * (head_dim + value_head_dim); MLA: kv_lora_rank + qk_rope_head_dim).
int64_t KvElementsPerTokenLayer(const ModelSpec& model);

}  // namespace moecast
