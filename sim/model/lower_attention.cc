// The attention half of Lowering but for the cache: projections of GQA and MLA, linear attention.
#include <algorithm>

#include "sim/base/check.h"
#include "sim/model/lower.h"

namespace moecast {

Gemm Lowering::AttentionGemm(GemmRole role, int64_t rows, int64_t n, int64_t k) const {
  return {.role = role,
          .rows = rows,
          .n = n,
          .k = k,
          .format = &model_->formats.attention,
          .activation_bytes = activation_bytes_,
          .read = model_->reads.attention};
}

void Lowering::LowerProjections(int64_t rows, std::vector<CountedOp>& ops) const {
  if (full_layers_ + window_layers_ == 0) return;
  if (const auto* gqa = std::get_if<GqaAttention>(&model_->attention)) {
    LowerGqaProjections(rows, *gqa, ops);
  } else {
    LowerMlaProjections(rows, std::get<MlaAttention>(model_->attention), ops);
  }
}

void Lowering::LowerGqaProjections(int64_t rows, const GqaAttention& a,
                                   std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t kv_heads = std::max<int64_t>(1, a.kv_heads / parallelism_.tensor);
  const int64_t values = heads * a.value_head_dim;
  const int64_t gate = model_->attention_output_gate ? values : 0;
  const int64_t outputs = heads * a.head_dim + gate + kv_heads * (a.head_dim + a.value_head_dim);
  ops.push_back(
      {.op = AttentionGemm(GemmRole::kQkv, rows, outputs, model_->hidden), .count = layers});
  ops.push_back(
      {.op = Elementwise{.role = ElementwiseRole::kRope,
                         .rows = rows,
                         .bytes_per_row = ActivationBytes(2, (heads + kv_heads) * a.head_dim)},
       .count = layers});
  ops.push_back({.op = AttentionGemm(GemmRole::kAttentionOut, rows, model_->hidden, values),
                 .count = layers});
}

void Lowering::LowerMlaProjections(int64_t rows, const MlaAttention& a,
                                   std::vector<CountedOp>& ops) const {
  const int64_t layers = full_layers_ + window_layers_;
  const int64_t heads = a.heads / parallelism_.tensor;
  const int64_t queries = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
  const int64_t latent = a.kv_lora_rank + a.qk_rope_head_dim;
  const auto gemm = [&](GemmRole role, int64_t n, int64_t k) {
    ops.push_back({.op = AttentionGemm(role, rows, n, k), .count = layers});
  };
  // The down-projections are replicated on every tensor rank.
  gemm(GemmRole::kMlaDown, a.q_lora_rank.value_or(0) + latent, model_->hidden);
  gemm(GemmRole::kMlaQueryUp, queries, a.q_lora_rank.value_or(model_->hidden));
  ops.push_back(
      {.op = Elementwise{.role = ElementwiseRole::kRope,
                         .rows = rows,
                         .bytes_per_row = ActivationBytes(2, (heads + 1) * a.qk_rope_head_dim)},
       .count = layers});
  gemm(GemmRole::kAttentionOut, model_->hidden, heads * a.v_head_dim);
}

void Lowering::LowerLinearAttention(const StepShape& step, const AttentionLoad& load,
                                    std::vector<CountedOp>& ops) const {
  const LinearAttention& a = *model_->linear_attention;
  const int64_t tensor = parallelism_.tensor;
  const int64_t keys = a.key_heads * a.key_head_dim / tensor;
  const int64_t value_heads = a.value_heads / tensor;
  const int64_t values = value_heads * a.value_head_dim;
  const int64_t rows = step.rows_per_group;
  const auto gemm = [&](GemmRole role, int64_t n, int64_t k) {
    ops.push_back({.op = AttentionGemm(role, rows, n, k), .count = linear_layers_});
  };
  gemm(GemmRole::kLinearAttentionIn, 2 * keys + 2 * values + 2 * value_heads, model_->hidden);
  const int64_t state = values * a.key_head_dim;
  const int64_t convolution = (2 * keys + values) * (a.conv_width - 1);
  // Read the state against the key, add the correction, read it against the query: three
  // multiply-adds per state element and token.
  const double flops_per_token = 2.0 * (1 + 1 + 1) * static_cast<double>(state);
  ops.push_back({.op =
                     LinearAttentionScan{
                         .sequences = load.decode_sequences + load.prefill_chunks,
                         .tokens = load.tokens(),
                         .state_bytes_per_sequence = ActivationBytes(2, state + convolution),
                         .bytes_per_token = ActivationBytes(1, 2 * keys + 2 * values + values),
                         .flops_per_token = flops_per_token},
                 .count = linear_layers_});
  gemm(GemmRole::kLinearAttentionOut, model_->hidden, values);
}

}  // namespace moecast
