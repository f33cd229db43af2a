#include "sim/model/model_spec.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {
namespace {

double Product(int64_t a, int64_t b) { return static_cast<double>(a) * static_cast<double>(b); }

double AttentionWeights(const ModelSpec& model, const GqaAttention& a) {
  const double q = Product(model.hidden, a.heads * a.head_dim);
  const double gate =
      model.attention_output_gate ? Product(model.hidden, a.heads * a.value_head_dim) : 0;
  const double kv = Product(model.hidden, a.kv_heads * (a.head_dim + a.value_head_dim));
  return q + gate + kv + Product(a.heads * a.value_head_dim, model.hidden);
}

double AttentionWeights(const ModelSpec& model, const MlaAttention& a) {
  const int64_t query = a.heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
  const double q = a.q_lora_rank
                       ? Product(model.hidden, *a.q_lora_rank) + Product(*a.q_lora_rank, query)
                       : Product(model.hidden, query);
  const double kv_down = Product(model.hidden, a.kv_lora_rank + a.qk_rope_head_dim);
  const double kv_up = Product(a.kv_lora_rank, a.heads * (a.qk_nope_head_dim + a.v_head_dim));
  return q + kv_down + kv_up + Product(a.heads * a.v_head_dim, model.hidden);
}

double AttentionWeights(const ModelSpec& model, const LinearAttention& a) {
  const int64_t keys = a.key_heads * a.key_head_dim;
  const int64_t values = a.value_heads * a.value_head_dim;
  // Queries and keys; values and output gate; decay and write strength per value head; output.
  const double in = Product(model.hidden, 2 * keys + 2 * values + 2 * a.value_heads);
  return in + Product(values, model.hidden);
}

}  // namespace

int64_t ModelSpec::moe_layer_count() const {
  return std::count_if(layers.begin(), layers.end(), [](const LayerSpec& layer) {
    return layer.feed_forward == FeedForwardKind::kMoe;
  });
}

int64_t ModelSpec::attention_layer_count(AttentionKind kind) const {
  return std::count_if(layers.begin(), layers.end(),
                       [kind](const LayerSpec& layer) { return layer.attention == kind; });
}

ParameterCount CountParameters(const ModelSpec& model) {
  const int64_t linear_layers = model.attention_layer_count(AttentionKind::kLinear);
  const int64_t moe_layers = model.moe_layer_count();
  const double softmax_layers = static_cast<double>(model.layer_count() - linear_layers);
  double both =
      softmax_layers *
      std::visit([&](const auto& a) { return AttentionWeights(model, a); }, model.attention);
  if (linear_layers > 0) {
    SIM_CHECK(model.linear_attention.has_value());
    both += static_cast<double>(linear_layers) * AttentionWeights(model, *model.linear_attention);
  }
  const double swiglu = 3 * static_cast<double>(model.hidden);  // gate, up and down matrices
  both += Product(model.layer_count() - moe_layers, model.dense_intermediate) * swiglu;
  both += Product(model.vocabulary, model.hidden) * (model.tied_embeddings ? 1 : 2);
  ParameterCount count{.total = both, .active = both};
  if (moe_layers > 0) {
    SIM_CHECK(model.moe.has_value());
    const MoeSpec& moe = *model.moe;
    const double expert = swiglu * static_cast<double>(moe.expert_intermediate);
    const double always = swiglu * static_cast<double>(moe.shared_intermediate) +
                          Product(model.hidden, moe.experts);  // shared experts and router
    const double layers = static_cast<double>(moe_layers);
    count.total += layers * (always + static_cast<double>(moe.experts) * expert);
    count.active += layers * (always + static_cast<double>(moe.top_k) * expert);
  }
  return count;
}

int64_t KvElementsPerTokenLayer(const ModelSpec& model) {
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    return mla->kv_lora_rank + mla->qk_rope_head_dim;
  }
  const auto& gqa = std::get<GqaAttention>(model.attention);
  return gqa.kv_heads * (gqa.head_dim + gqa.value_head_dim);
}

}  // namespace moecast
