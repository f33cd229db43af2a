// The expert ops: the route op runs as it would, and the products read the step's given routing.
#include "kernels/execute/model_ops.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"

namespace moecast::kernels {
namespace {

RoutingRule RuleOf(const MoeSpec& moe) {
  const bool sigmoid =
      moe.scoring == GateScoring::kSigmoid || moe.scoring == GateScoring::kSigmoidBias;
  return {.score = {.score = sigmoid ? ScoreKind::kSigmoid : ScoreKind::kSoftmax,
                    .renormalise = moe.renormalise ? Renormalise::kKept : Renormalise::kNone,
                    .scale = static_cast<float>(moe.routed_scale)}};
}

ExpertSlots SlotsOf(const RouteBuffers& routing) {
  return {.active_experts = routing.active_experts,
          .active_count = routing.active_count,
          .offsets = routing.offsets,
          .slot_token = routing.slot_token};
}

}  // namespace

ExpertShape ModelOps::ExpertShapeOf(const StepForm& form) const {
  return {.tokens = form.rows,
          .top_k = static_cast<int32_t>(model_.moe->top_k),
          .experts = limits_.experts,
          .hidden = static_cast<int32_t>(model_.hidden),
          .intermediate = static_cast<int32_t>(model_.moe->expert_intermediate)};
}

RouteBuffers ModelOps::RoutingOf(const StepForm& form, size_t moe_layer) const {
  const RoutingLayout at = LayoutOf({.layers = limits_.moe_layers,
                                     .rows = form.rows,
                                     .top_k = static_cast<int32_t>(model_.moe->top_k),
                                     .experts = limits_.experts});
  int32_t* const words = act_.routing.data() + moe_layer * at.layer_words;
  RouteBuffers routing = act_.routed;
  routing.active_experts = words + at.active_experts;
  routing.active_count = words + at.active_count;
  routing.offsets = words + at.offsets;
  routing.slot_token = words + at.slot_token;
  routing.position_of_slot = words + at.position_of_slot;
  routing.weight_of_slot = reinterpret_cast<float*>(words + at.weight_of_slot);
  return routing;
}

ModelOps::Enqueue ModelOps::RouteOf(const StepForm& form, size_t layer) {
  const ExpertShape shape = ExpertShapeOf(form);
  const RoutingRule rule = RuleOf(*model_.moe);
  const __nv_bfloat16* const router = weights_.layers()[layer].router;
  return [this, shape, rule, router] {
    Route(shape, rule, act_.normed.data(), router, nullptr, act_.routed, stream_.get());
  };
}

bool ModelOps::ComputeBoundIsFaster(const StepForm& form, int64_t kept) {
  constexpr int32_t kRows = 64;
  const auto [it, is_new] =
      compute_bound_.try_emplace({(form.rows + kRows - 1) / kRows, kept / form.rows}, false);
  if (is_new) it->second = TimeExperts(form, true) < TimeExperts(form, false);
  return it->second;
}

double ModelOps::TimeExperts(StepForm form, bool compute_bound) {
  constexpr size_t kMostLayers = 4;
  form.compute_bound = compute_bound;
  std::vector<Enqueue> launches;
  for (size_t layer = 0; layer < model_.layers.size() && launches.size() < kMostLayers; ++layer) {
    if (IsMoe(layer)) launches.push_back(Experts(form, layer));
  }
  const Event start;
  const Event end;
  for (int run = 0; run < 2; ++run) {  // the first warms up
    start.Record(stream_);
    for (const Enqueue& launch : launches) launch();
    end.Record(stream_);
  }
  end.Synchronize();
  return end.MicrosecondsSince(start);
}

ModelOps::Enqueue ModelOps::Experts(const StepForm& form, size_t layer) {
  size_t moe_layer = 0;
  for (size_t before = 0; before < layer; ++before) moe_layer += IsMoe(before) ? 1 : 0;
  const ExpertShape shape = ExpertShapeOf(form);
  const RouteBuffers routing = RoutingOf(form, moe_layer);
  const ExpertSlots slots = SlotsOf(routing);
  const LayerWeights& weights = weights_.layers()[layer];
  if (!form.compute_bound) {
    return [this, shape, routing, slots, stored = weights.stored] {
      kernels::Experts(shape, slots, stored, act_.normed.data(), act_.expert_act.data(),
                       act_.expert_y.data(), act_.handoff.data(), stream_.get());
      Combine(shape, routing, act_.expert_y.data(), act_.x.data(), stream_.get());
    };
  }
  const PrefillRows x{.values = act_.expert_x.data(), .block_scale = act_.expert_x_scale.data()};
  const PrefillRows act{.values = act_.expert_act.data(),
                        .block_scale = act_.expert_act_scale.data()};
  return [this, shape, routing, x, slots, act, prefill = weights.prefill] {
    PermuteTokens(shape, prefill.format, routing.position_of_slot, act_.normed.data(), x,
                  stream_.get());
    PrefillGateUp(shape, slots, prefill, x, act, stream_.get());
    PrefillDown(shape, slots, prefill, act, act_.expert_y.data(), stream_.get());
    Combine(shape, routing, act_.expert_y.data(), act_.x.data(), stream_.get());
  };
}

}  // namespace moecast::kernels
