#include "scenario.pb.h"
#include "scenarios/convert.h"

namespace moecast {
namespace {

std::vector<int32_t> MoeLayers(const ModelSpec& model) {
  std::vector<int32_t> layers;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (model.layers[i].feed_forward == FeedForwardKind::kMoe) {
      layers.push_back(static_cast<int32_t>(i));
    }
  }
  return layers;
}

// A rule may compute fewer experts than the model's top-k, never more.
void CheckK(int64_t k, const ModelSpec& model, const std::string& path,
            const FieldReporter& report) {
  if (k <= model.moe->top_k) return;
  report(path, "must be at most the model's top_k (" + std::to_string(model.moe->top_k) +
                   "), got " + std::to_string(k));
}

ExpertSelection ConvertTuple(const pb::ScheduleTuple& in, const ModelSpec& model,
                             const FieldReporter& report) {
  const std::string path = "experts.layer_schedule.tuple.";
  CheckK(in.b(), model, path + "b", report);
  CheckK(in.h(), model, path + "h", report);
  CheckK(in.e(), model, path + "e", report);
  const int64_t layers = model.layer_count();
  if (in.p() > layers) {
    report(path + "p", "must be at most the model's layers (" + std::to_string(layers) + "), got " +
                           std::to_string(in.p()));
    return NativeTopK{};
  }
  const std::vector<int32_t> moe_layers = MoeLayers(model);
  return LayerSchedule{LayerScheduleFromTuple({.b = in.b(), .h = in.h(), .e = in.e(), .p = in.p()},
                                              layers, moe_layers)};
}

ExpertSelection ConvertList(const pb::ScheduleList& in, const ModelSpec& model,
                            const FieldReporter& report) {
  const std::string path = "experts.layer_schedule.list.k_per_moe_layer";
  if (in.k_per_moe_layer_size() != model.moe_layer_count()) {
    report(path, "must have one entry per MoE layer (" + std::to_string(model.moe_layer_count()) +
                     "), got " + std::to_string(in.k_per_moe_layer_size()));
  }
  for (int i = 0; i < in.k_per_moe_layer_size(); ++i) {
    CheckK(in.k_per_moe_layer(i), model, path + "." + std::to_string(i), report);
  }
  return LayerSchedule{{in.k_per_moe_layer().begin(), in.k_per_moe_layer().end()}};
}

/// One value for all MoE layers or one for each.
PerMoeLayer ConvertPerMoeLayer(const google::protobuf::RepeatedField<double>& in,
                               const ModelSpec& model, const std::string& path,
                               const FieldReporter& report) {
  if (in.size() != 1 && in.size() != model.moe_layer_count()) {
    report(path, "must have one entry, or one per MoE layer (" +
                     std::to_string(model.moe_layer_count()) + "), got " +
                     std::to_string(in.size()));
  }
  return {{in.begin(), in.end()}};
}

ExpertSelection ConvertAsetDerived(const pb::AsetDerived& in, const ModelSpec& model,
                                   const FieldReporter& report) {
  CheckK(in.min_k(), model, "experts.aset_derived.min_k", report);
  return AsetDerived{.threshold = ConvertPerMoeLayer(in.threshold(), model,
                                                     "experts.aset_derived.threshold", report),
                     .penalty = in.penalty(),
                     .min_k = in.min_k()};
}

ExpertSelection ConvertScoreRule(const pb::Experts& in, const ModelSpec& model,
                                 const FieldReporter& report) {
  if (in.has_ratio_to_best()) {
    return RatioToBest{ConvertPerMoeLayer(in.ratio_to_best().threshold(), model,
                                          "experts.ratio_to_best.threshold", report)};
  }
  if (in.has_top_p()) {
    return TopP{ConvertPerMoeLayer(in.top_p().mass(), model, "experts.top_p.mass", report)};
  }
  return ConvertAsetDerived(in.aset_derived(), model, report);
}

}  // namespace

ExpertSelection ConvertExperts(const pb::Experts& in, const ModelSpec& model,
                               const FieldReporter& report) {
  if (in.has_native()) return NativeTopK{};
  if (!model.moe) {
    report("experts", "must be native: model '" + model.name + "' has no experts");
    return NativeTopK{};
  }
  if (in.has_uniform_top_k()) {
    CheckK(in.uniform_top_k().k(), model, "experts.uniform_top_k.k", report);
    return UniformTopK{in.uniform_top_k().k()};
  }
  if (in.has_layer_schedule()) {
    const pb::LayerSchedule& schedule = in.layer_schedule();
    return schedule.has_tuple() ? ConvertTuple(schedule.tuple(), model, report)
                                : ConvertList(schedule.list(), model, report);
  }
  return ConvertScoreRule(in, model, report);
}

}  // namespace moecast
