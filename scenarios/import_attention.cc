#include "model.pb.h"
#include "scenarios/import_parts.h"

namespace moecast {
namespace {

void ImportMla(ModelConfig& config, pb::Mla& out) {
  out.set_heads(config.RequiredInteger({"num_attention_heads"}));
  if (const auto rank = config.Integer({"q_lora_rank"})) out.set_q_lora_rank(*rank);
  out.set_kv_lora_rank(config.RequiredInteger({"kv_lora_rank"}));
  out.set_qk_nope_head_dim(config.RequiredInteger({"qk_nope_head_dim"}));
  out.set_qk_rope_head_dim(config.RequiredInteger({"qk_rope_head_dim"}));
  out.set_v_head_dim(config.RequiredInteger({"v_head_dim"}));
}

int64_t HeadDim(ModelConfig& config, int64_t heads) {
  if (const auto stated = config.Integer({"head_dim", "attention_head_dim"})) return *stated;
  const int64_t hidden = config.Integer({"hidden_size"}).value_or(0);
  if (heads <= 0 || hidden % heads != 0) {
    config.Problem("head_dim", "is missing and hidden_size (" + std::to_string(hidden) +
                                   ") is no multiple of num_attention_heads (" +
                                   std::to_string(heads) + ")");
    return 0;
  }
  config.Infer("head_dim: " + std::to_string(hidden / heads) +
               ", hidden_size / num_attention_heads");
  return hidden / heads;
}

void ImportGqa(ModelConfig& config, pb::Gqa& out) {
  out.set_heads(config.RequiredInteger({"num_attention_heads"}));
  const auto kv_heads = config.Integer({"num_key_value_heads"});
  if (!kv_heads) config.Infer("kv_heads: as many as heads, num_key_value_heads is absent");
  out.set_kv_heads(kv_heads.value_or(out.heads()));
  if (config.Has("v_channels")) {  // openPangu: queries and keys carry a rotary part beside
    out.set_head_dim(config.RequiredInteger({"qk_nope_dim"}) +
                     config.RequiredInteger({"qk_rope_dim"}));
    out.set_value_head_dim(config.RequiredInteger({"v_channels"}));
    return;
  }
  out.set_head_dim(HeadDim(config, out.heads()));
}

void ImportLinear(ModelConfig& config, pb::LinearAttentionShape& out) {
  out.set_key_heads(config.RequiredInteger({"linear_num_key_heads"}));
  out.set_value_heads(config.RequiredInteger({"linear_num_value_heads"}));
  out.set_key_head_dim(config.RequiredInteger({"linear_key_head_dim"}));
  out.set_value_head_dim(config.RequiredInteger({"linear_value_head_dim"}));
  out.set_conv_width(config.RequiredInteger({"linear_conv_kernel_dim"}));
}

}  // namespace

int64_t ImportWindow(ModelConfig& config) {
  if (config.Has("use_sliding_window") && config.Bool("use_sliding_window") == false) return 0;
  const int64_t window = config.Integer({"sliding_window", "attention_chunk_size"}).value_or(0);
  const int64_t longest = config.Integer({"max_position_embeddings"}).value_or(0);
  return longest > 0 && window >= longest ? 0 : window;
}

void ImportAttention(ModelConfig& config, pb::Model& out) {
  if (config.Has("kv_lora_rank")) {
    ImportMla(config, *out.mutable_attention()->mutable_mla());
  } else {
    ImportGqa(config, *out.mutable_attention()->mutable_gqa());
  }
  if (config.Has("index_topk")) {
    config.Infer("attention: read as dense; the sparse indexer (index_topk) is left out");
  }
  bool sliding = false;
  bool linear = false;
  for (const pb::LayerRun& run : out.layers()) {
    for (const pb::Layer& layer : run.pattern()) {
      sliding |= layer.attention() == pb::Layer::sliding_window;
      linear |= layer.attention() == pb::Layer::linear;
    }
  }
  const int64_t stated = config.Integer({"sliding_window", "attention_chunk_size"}).value_or(0);
  if (sliding) {
    out.set_sliding_window_tokens(ImportWindow(config));
  } else if (stated > 0) {
    config.Infer("sliding_window_tokens: none; the stated " + std::to_string(stated) +
                 " is switched off or not shorter than max_position_embeddings");
  }
  if (linear) ImportLinear(config, *out.mutable_linear_attention());
  if (config.IsOneOf({"qwen3_next"})) {
    out.set_attention_output_gate(true);
    config.Infer("attention_output_gate: true, by model_type qwen3_next");
  }
}

}  // namespace moecast
