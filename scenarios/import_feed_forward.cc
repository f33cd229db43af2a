#include <algorithm>

#include "model.pb.h"
#include "scenarios/import_parts.h"

namespace moecast {
namespace {

struct Scoring {
  pb::Moe::Scoring value = pb::Moe::softmax;
  std::string reason;
};

std::string ByType(const ModelConfig& config) { return "by model_type " + config.model_type(); }

Scoring StatedScoring(ModelConfig& config, const std::string& function) {
  const bool biased =
      config.Text("topk_method") == "noaux_tc" || config.Bool("use_routing_bias").value_or(false);
  if (function == "softmax") return {pb::Moe::softmax, "scoring_func"};
  if (function == "sigmoid" && biased) {
    return {pb::Moe::sigmoid_bias, "scoring_func with a correction bias"};
  }
  if (function == "sigmoid") return {pb::Moe::sigmoid, "scoring_func"};
  config.Problem("scoring_func", "expected softmax or sigmoid, got '" + function + "'");
  return {};
}

Scoring InferScoring(ModelConfig& config) {
  if (const auto function = config.Text("scoring_func")) return StatedScoring(config, *function);
  if (config.Bool("router_enable_expert_bias").value_or(false)) {
    return {pb::Moe::sigmoid_bias, "router_enable_expert_bias"};
  }
  if (config.IsOneOf({"glm4_moe"})) return {pb::Moe::sigmoid_bias, ByType(config)};
  if (config.IsOneOf({"llama4_text", "minimax_m2"})) return {pb::Moe::sigmoid, ByType(config)};
  if (config.IsOneOf({"gpt_oss", "granitemoe"})) {
    return {pb::Moe::softmax_after_top_k, ByType(config)};
  }
  if (config.IsOneOf({"phimoe"})) return {pb::Moe::sparsemixer, ByType(config)};
  if (config.IsOneOf({"PanguProMoE"})) return {pb::Moe::group_softmax, ByType(config)};
  const bool known = config.IsOneOf({"deepseek_v2", "ernie4_5_moe", "hunyuan_v1_moe", "mixtral",
                                     "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next"});
  return {pb::Moe::softmax, known ? ByType(config)
                                  : "assumed: model_type '" + config.model_type() +
                                        "' has no rule and scoring_func is absent"};
}

bool InferRenormalise(ModelConfig& config) {
  if (const auto stated = config.Bool("norm_topk_prob")) return *stated;
  const bool renormalise =
      config.IsOneOf({"mixtral", "gpt_oss", "granitemoe", "minimax_m2", "ernie4_5_moe"});
  config.Infer(std::string("renormalise: ") + (renormalise ? "true" : "false") + ", " +
               ByType(config));
  return renormalise;
}

// In these families intermediate_size is the width of an expert, elsewhere of a dense block.
bool IntermediateIsExpert(const ModelConfig& config) {
  return config.IsOneOf(
      {"mixtral", "phimoe", "granitemoe", "olmoe", "gpt_oss", "minimax_m2", "llama4_text"});
}

int64_t ExpertWidth(ModelConfig& config) {
  if (IntermediateIsExpert(config)) {
    config.Infer("expert_intermediate_size: intermediate_size, " + ByType(config));
    return config.RequiredInteger({"intermediate_size"});
  }
  if (const auto stated = config.Integer({"moe_intermediate_size"})) return *stated;
  config.Infer("expert_intermediate_size: intermediate_size, moe_intermediate_size is absent");
  return config.RequiredInteger({"intermediate_size"});
}

void ImportShared(ModelConfig& config, pb::Moe& out) {
  const int64_t width = out.expert_intermediate_size();
  if (config.IsOneOf({"llama4_text"})) {
    out.set_shared_experts(1);
    out.set_shared_intermediate_size(width);
    config.Infer("shared_experts: 1 of intermediate_size, by model_type llama4_text");
    return;
  }
  const int64_t stated = config.Integer({"shared_expert_intermediate_size"}).value_or(0);
  const int64_t count =
      config.Integer({"n_shared_experts", "num_shared_expert", "moe_num_shared_experts"})
          .value_or(0);
  if (stated <= 0) {
    out.set_shared_experts(count);
    out.set_shared_intermediate_size(count * width);
    return;
  }
  out.set_shared_intermediate_size(stated);
  const bool one = config.IsOneOf({"qwen2_moe", "qwen3_next"});
  out.set_shared_experts(one || width <= 0 ? 1 : std::max<int64_t>(1, stated / width));
  config.Infer("shared_experts: " + std::to_string(out.shared_experts()) + ", " +
               (one ? ByType(config) : "shared_expert_intermediate_size / expert width"));
}

void ImportGroups(ModelConfig& config, pb::Moe& out) {
  if (out.scoring() == pb::Moe::group_softmax) {  // MoGE: the best expert of each of top_k groups
    out.set_groups(out.top_k());
    out.set_top_groups(out.top_k());
    config.Infer("groups: " + std::to_string(out.top_k()) + ", one expert of each, " +
                 ByType(config));
    return;
  }
  const bool limited = config.Text("topk_method").value_or("") != "greedy";
  out.set_groups(limited ? config.Integer({"n_group"}).value_or(1) : 1);
  out.set_top_groups(limited ? config.Integer({"topk_group"}).value_or(1) : 1);
}

void ImportMoe(ModelConfig& config, pb::Moe& out) {
  out.set_experts(config.RequiredInteger(
      {"n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"}));
  out.set_top_k(
      config.RequiredInteger({"num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k"}));
  out.set_expert_intermediate_size(ExpertWidth(config));
  ImportShared(config, out);
  const Scoring scoring = InferScoring(config);
  out.set_scoring(scoring.value);
  if (scoring.reason != "scoring_func") {
    config.Infer("scoring: " + pb::Moe::Scoring_Name(scoring.value) + ", " + scoring.reason);
  }
  out.set_renormalise(InferRenormalise(config));
  out.set_routed_scale(config.Number("routed_scaling_factor").value_or(1.0));
  ImportGroups(config, out);
}

}  // namespace

void ImportFeedForward(ModelConfig& config, const std::vector<LayerSpec>& layers, pb::Model& out) {
  const auto any = [&layers](FeedForwardKind kind) {
    return std::any_of(layers.begin(), layers.end(),
                       [kind](const LayerSpec& layer) { return layer.feed_forward == kind; });
  };
  if (any(FeedForwardKind::kMoe)) ImportMoe(config, *out.mutable_moe());
  if (!any(FeedForwardKind::kDense)) return;
  const bool llama4 = config.IsOneOf({"llama4_text"});
  out.set_dense_intermediate_size(llama4 ? config.RequiredInteger({"intermediate_size_mlp"})
                                         : config.RequiredInteger({"intermediate_size"}));
}

}  // namespace moecast
