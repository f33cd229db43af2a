#include "sim/validate/last_executor.h"

#include <string>
#include <tuple>
#include <vector>

namespace moecast {
namespace {

auto Fields(const GqaAttention& a) {
  return std::tuple(a.heads, a.kv_heads, a.head_dim, a.value_head_dim);
}

auto Fields(const MlaAttention& a) {
  return std::tuple(a.heads, a.q_lora_rank, a.kv_lora_rank, a.qk_nope_head_dim, a.qk_rope_head_dim,
                    a.v_head_dim);
}

bool SameAttention(const Attention& a, const Attention& b) {
  if (a.index() != b.index()) return false;
  if (const auto* gqa = std::get_if<GqaAttention>(&a)) {
    return Fields(*gqa) == Fields(std::get<GqaAttention>(b));
  }
  return Fields(std::get<MlaAttention>(a)) == Fields(std::get<MlaAttention>(b));
}

auto Fields(const MoeSpec& m) {
  return std::tuple(m.experts, m.top_k, m.expert_intermediate, m.shared_intermediate, m.scoring,
                    m.renormalise, m.routed_scale);
}

bool SameMoe(const std::optional<MoeSpec>& a, const std::optional<MoeSpec>& b) {
  return a.has_value() == b.has_value() && (!a || Fields(*a) == Fields(*b));
}

std::vector<std::string> FormatNames(const WeightFormats& f) {
  return {f.attention.name,   f.dense_ffn.name,           f.experts.name,     f.embeddings.name,
          f.activations.name, f.of_shared_experts().name, f.of_lm_head().name};
}

auto Fields(const ModelSpec& m) {
  return std::tuple(m.name, m.hidden, m.vocabulary, m.max_positions, m.tied_embeddings,
                    m.linear_attention.has_value(), m.sliding_window, m.attention_output_gate,
                    m.dense_intermediate, m.extras.size());
}

bool SameModel(const ModelSpec& a, const ModelSpec& b) {
  return Fields(a) == Fields(b) && SameAttention(a.attention, b.attention) &&
         SameMoe(a.moe, b.moe) && a.layers == b.layers &&
         FormatNames(a.formats) == FormatNames(b.formats);
}

auto Limits(const ExecutorRequest& r) {
  return std::tuple(r.device.name, r.kv_tokens, r.max_batch_tokens, r.max_sequences);
}

}  // namespace

bool SameExecutor(const ExecutorRequest& a, const ExecutorRequest& b) {
  return Limits(a) == Limits(b) && a.kv == b.kv && SameModel(a.model, b.model);
}

Result<const StepExecutor*> LastExecutor::For(const ExecutorRequest& request) {
  if (!request_ || !SameExecutor(*request_, request)) {
    request_.reset();
    executor_ = {};
    SIM_TRY(executor_, open_(request));
    request_ = request;
  }
  return &executor_;
}

}  // namespace moecast
