#include "sim/model/model_spec.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Gate, up and down.
constexpr double kSwigluMatrices = 3;

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

/// Routed and shared experts and routers of one MoE layer.
ParameterCount MoeLayerWeights(const ModelSpec& model, const MoeSpec& moe) {
  const double swiglu = kSwigluMatrices * static_cast<double>(model.hidden);
  const double expert = swiglu * static_cast<double>(moe.expert_intermediate);
  const double inner_router = Product(model.hidden, moe.inner_router_width);
  const double shared = swiglu * static_cast<double>(moe.shared_intermediate);
  const double router = Product(model.hidden, moe.experts * moe.router_matrices);
  return {.total = static_cast<double>(moe.experts) * (expert + inner_router) + shared + router,
          .active = static_cast<double>(moe.top_k) *
                        (expert * model.reads.experts.used() + inner_router) +
                    shared * model.reads.dense_ffn.used() + router};
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
  ParameterCount count;
  const auto add = [&count](double weights, const WeightRead& read) {
    count.total += weights;
    count.active += weights * read.used();
  };
  add(softmax_layers *
          std::visit([&](const auto& a) { return AttentionWeights(model, a); }, model.attention),
      model.reads.attention);
  if (linear_layers > 0) {
    SIM_CHECK(model.linear_attention.has_value());
    add(static_cast<double>(linear_layers) * AttentionWeights(model, *model.linear_attention),
        model.reads.attention);
  }
  const double swiglu = kSwigluMatrices * static_cast<double>(model.hidden);
  add(Product(model.layer_count() - moe_layers, model.dense_intermediate) * swiglu,
      model.reads.dense_ffn);
  add(Product(model.vocabulary, model.hidden) * (model.tied_embeddings ? 1 : 2), {});
  if (moe_layers > 0) {
    SIM_CHECK(model.moe.has_value());
    const ParameterCount layer = MoeLayerWeights(model, *model.moe);
    count.total += static_cast<double>(moe_layers) * layer.total;
    count.active += static_cast<double>(moe_layers) * layer.active;
  }
  for (const ExtraOperation& extra : model.extras) {
    add(static_cast<double>(Executions(model, extra)) * extra.weights, {});
  }
  return count;
}

double MultiplyAddsPerToken(const ModelSpec& model) {
  const double looked_up = model.tied_embeddings ? 0 : Product(model.vocabulary, model.hidden);
  return CountParameters(model).active - looked_up;
}

int64_t Executions(const ModelSpec& model, const ExtraOperation& extra) {
  switch (extra.place) {
    case ExtraPlace::kLayer:
      return extra.count * model.layer_count();
    case ExtraPlace::kDenseLayer:
      return extra.count * (model.layer_count() - model.moe_layer_count());
    case ExtraPlace::kMoeLayer:
      return extra.count * model.moe_layer_count();
    case ExtraPlace::kCut:
      return extra.count * model.cuts;
    case ExtraPlace::kStep:
      return extra.count;
  }
  SIM_CHECK(false);
}

int64_t KvElementsPerTokenLayer(const ModelSpec& model) {
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    return mla->kv_lora_rank + mla->qk_rope_head_dim;
  }
  const auto& gqa = std::get<GqaAttention>(model.attention);
  return gqa.kv_heads * (gqa.head_dim + gqa.value_head_dim);
}

}  // namespace moecast
