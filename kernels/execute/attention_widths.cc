#include "kernels/execute/attention_widths.h"

namespace moecast::kernels {
namespace {

int32_t Int(int64_t value) { return static_cast<int32_t>(value); }

AttentionWidths Widths(const GqaAttention& a) {
  return {.heads = Int(a.heads),
          .kv_heads = Int(a.kv_heads),
          .key_dim = Int(a.head_dim),
          .value_dim = Int(a.value_head_dim),
          .qkv = Int(a.heads * a.head_dim + a.kv_heads * (a.head_dim + a.value_head_dim)),
          .values = Int(a.heads * a.value_head_dim)};
}

AttentionWidths Widths(const MlaAttention& a) {
  const int64_t key_dim = a.qk_nope_head_dim + a.qk_rope_head_dim;
  return {.heads = Int(a.heads),
          .kv_heads = 1,
          .key_dim = Int(key_dim),
          .value_dim = Int(a.v_head_dim),
          .qkv = Int(a.heads * key_dim),
          .values = Int(a.heads * a.v_head_dim),
          .latent = Int(a.kv_lora_rank + a.qk_rope_head_dim),
          .up = Int(a.heads * (a.qk_nope_head_dim + a.v_head_dim))};
}

}  // namespace

AttentionWidths WidthsOf(const ModelSpec& model) {
  return std::visit([](const auto& a) { return Widths(a); }, model.attention);
}

}  // namespace moecast::kernels
