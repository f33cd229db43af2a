// Real shapes used by several tests, from the models' published configurations.
#pragma once

#include "sim/model/model_spec.h"
#include "tests/support/builders.h"

namespace moecast::test {

inline WeightFormats AllBf16() {
  return {.attention = Bf16(),
          .dense_ffn = Bf16(),
          .experts = Bf16(),
          .embeddings = Bf16(),
          .activations = Bf16()};
}

/// DeepSeek-V2-Lite: MLA without a query latent, one dense layer, 64 experts top-6, two shared.
inline ModelSpec DeepSeekV2Lite() {
  ModelSpec model;
  model.name = "DeepSeek-V2-Lite";
  model.hidden = 2048;
  model.vocabulary = 102400;
  model.attention = MlaAttention{.heads = 16,
                                 .q_lora_rank = std::nullopt,
                                 .kv_lora_rank = 512,
                                 .qk_nope_head_dim = 128,
                                 .qk_rope_head_dim = 64,
                                 .v_head_dim = 128};
  model.dense_intermediate = 10944;
  model.moe = MoeSpec{.experts = 64,
                      .top_k = 6,
                      .expert_intermediate = 1408,
                      .shared_experts = 2,
                      .shared_intermediate = 2816};
  model.layers.assign(27, {.feed_forward = FeedForwardKind::kMoe});
  model.layers.front().feed_forward = FeedForwardKind::kDense;
  model.formats = AllBf16();
  return model;
}

/// Qwen3-235B-A22B: GQA over 4 KV heads, 94 MoE layers of 128 experts, top-8.
inline ModelSpec Qwen3_235B() {
  ModelSpec model;
  model.name = "Qwen3-235B-A22B";
  model.hidden = 4096;
  model.vocabulary = 151936;
  model.attention =
      GqaAttention{.heads = 64, .kv_heads = 4, .head_dim = 128, .value_head_dim = 128};
  model.moe = MoeSpec{.experts = 128, .top_k = 8, .expert_intermediate = 1536};
  model.layers.assign(94, {.feed_forward = FeedForwardKind::kMoe});
  model.formats = AllBf16();
  return model;
}

}  // namespace moecast::test
