#include <algorithm>

#include "model.pb.h"
#include "scenarios/convert.h"

namespace moecast {
namespace {

Attention ConvertAttention(const pb::AttentionShape& in, const FieldReporter& report) {
  if (in.has_mla()) {
    const pb::Mla& mla = in.mla();
    MlaAttention out{.heads = mla.heads(),
                     .q_lora_rank = std::nullopt,
                     .kv_lora_rank = mla.kv_lora_rank(),
                     .qk_nope_head_dim = mla.qk_nope_head_dim(),
                     .qk_rope_head_dim = mla.qk_rope_head_dim(),
                     .v_head_dim = mla.v_head_dim()};
    if (mla.has_q_lora_rank()) out.q_lora_rank = mla.q_lora_rank();
    return out;
  }
  const pb::Gqa& gqa = in.gqa();
  if (gqa.heads() % gqa.kv_heads() != 0) {
    report("model.attention.gqa.kv_heads", "must divide heads (" + std::to_string(gqa.heads()) +
                                               "), got " + std::to_string(gqa.kv_heads()));
  }
  return GqaAttention{
      .heads = gqa.heads(),
      .kv_heads = gqa.kv_heads(),
      .head_dim = gqa.head_dim(),
      .value_head_dim = gqa.has_value_head_dim() ? gqa.value_head_dim() : gqa.head_dim()};
}

GateScoring ConvertScoring(pb::Moe::Scoring in) {
  switch (in) {
    case pb::Moe::softmax_after_top_k:
      return GateScoring::kSoftmaxAfterTopK;
    case pb::Moe::sigmoid:
      return GateScoring::kSigmoid;
    case pb::Moe::sigmoid_bias:
      return GateScoring::kSigmoidBias;
    case pb::Moe::sparsemixer:
      return GateScoring::kSparsemixer;
    case pb::Moe::group_softmax:
      return GateScoring::kGroupSoftmax;
    default:
      return GateScoring::kSoftmax;
  }
}

void CheckMoe(const pb::Moe& in, const FieldReporter& report) {
  const auto at_most = [&report](const char* field, int64_t value, const char* limit_name,
                                 int64_t limit) {
    if (value <= limit) return;
    report(std::string("model.moe.") + field, std::string("must be at most ") + limit_name + " (" +
                                                  std::to_string(limit) + "), got " +
                                                  std::to_string(value));
  };
  at_most("top_k", in.top_k(), "experts", in.experts());
  at_most("top_groups", in.top_groups(), "groups", in.groups());
  if (in.experts() % in.groups() != 0) {
    report("model.moe.groups", "must divide experts (" + std::to_string(in.experts()) + "), got " +
                                   std::to_string(in.groups()));
  }
  if ((in.shared_experts() > 0) != (in.shared_intermediate_size() > 0)) {
    report("model.moe.shared_experts",
           "shared_experts and shared_intermediate_size must both be 0 or both be positive, got " +
               std::to_string(in.shared_experts()) + " and " +
               std::to_string(in.shared_intermediate_size()));
  }
}

MoeSpec ConvertMoe(const pb::Moe& in) {
  return {.experts = in.experts(),
          .top_k = in.top_k(),
          .expert_intermediate = in.expert_intermediate_size(),
          .shared_experts = in.shared_experts(),
          .shared_intermediate = in.shared_intermediate_size(),
          .scoring = ConvertScoring(in.scoring()),
          .renormalise = in.renormalise(),
          .routed_scale = in.routed_scale(),
          .groups = in.groups(),
          .top_groups = in.top_groups()};
}

AttentionKind ConvertKind(pb::Layer::Attention in) {
  switch (in) {
    case pb::Layer::sliding_window:
      return AttentionKind::kSlidingWindow;
    case pb::Layer::linear:
      return AttentionKind::kLinear;
    default:
      return AttentionKind::kFull;
  }
}

std::vector<LayerSpec> ConvertLayers(const pb::Model& in, const FieldReporter& report) {
  constexpr int64_t kMostLayers = 10'000;
  std::vector<LayerSpec> layers;
  for (const pb::LayerRun& run : in.layers()) {
    const int64_t added = run.repeat() * run.pattern_size();
    if (static_cast<int64_t>(layers.size()) + added > kMostLayers) {
      report("model.layers",
             "describes more than " + std::to_string(kMostLayers) + " layers; check repeat");
      return layers;
    }
    for (int64_t i = 0; i < run.repeat(); ++i) {
      for (const pb::Layer& layer : run.pattern()) {
        layers.push_back({.attention = ConvertKind(layer.attention()),
                          .feed_forward = layer.feed_forward() == pb::Layer::moe
                                              ? FeedForwardKind::kMoe
                                              : FeedForwardKind::kDense});
      }
    }
  }
  return layers;
}

// A shape must be given exactly when a layer uses it.
void CheckUse(bool given, bool used, const char* field, const char* layers,
              const FieldReporter& report) {
  if (given == used) return;
  report(std::string("model.") + field,
         used ? std::string("is missing, but some layers are ") + layers
              : std::string("is given, but no layer is ") + layers);
}

void CheckLayerUse(const pb::Model& in, const std::vector<LayerSpec>& layers,
                   const FieldReporter& report) {
  const auto attends = [&layers](AttentionKind kind) {
    return std::any_of(layers.begin(), layers.end(),
                       [kind](const LayerSpec& layer) { return layer.attention == kind; });
  };
  const auto feeds = [&layers](FeedForwardKind kind) {
    return std::any_of(layers.begin(), layers.end(),
                       [kind](const LayerSpec& layer) { return layer.feed_forward == kind; });
  };
  CheckUse(in.has_linear_attention(), attends(AttentionKind::kLinear), "linear_attention",
           "attention: linear", report);
  CheckUse(in.has_sliding_window_tokens(), attends(AttentionKind::kSlidingWindow),
           "sliding_window_tokens", "attention: sliding_window", report);
  CheckUse(in.has_dense_intermediate_size(), feeds(FeedForwardKind::kDense),
           "dense_intermediate_size", "feed_forward: dense", report);
  CheckUse(in.has_moe(), feeds(FeedForwardKind::kMoe), "moe", "feed_forward: moe", report);
}

}  // namespace

ModelSpec ConvertModel(const pb::Model& in, const FieldReporter& report) {
  ModelSpec out{.name = in.name(),
                .hidden = in.hidden_size(),
                .vocabulary = in.vocabulary_size(),
                .max_positions = in.max_positions(),
                .tied_embeddings = in.tied_embeddings(),
                .attention = ConvertAttention(in.attention(), report),
                .linear_attention = std::nullopt,
                .sliding_window = in.sliding_window_tokens(),
                .attention_output_gate = in.attention_output_gate(),
                .dense_intermediate = in.dense_intermediate_size(),
                .moe = std::nullopt,
                .layers = ConvertLayers(in, report),
                .formats = ConvertWeightFormats(in, report)};
  if (in.has_linear_attention()) {
    const pb::LinearAttentionShape& shape = in.linear_attention();
    out.linear_attention = LinearAttention{.key_heads = shape.key_heads(),
                                           .value_heads = shape.value_heads(),
                                           .key_head_dim = shape.key_head_dim(),
                                           .value_head_dim = shape.value_head_dim(),
                                           .conv_width = shape.conv_width()};
  }
  if (in.has_moe()) {
    CheckMoe(in.moe(), report);
    out.moe = ConvertMoe(in.moe());
  }
  CheckLayerUse(in, out.layers, report);
  return out;
}

}  // namespace moecast
