// Rules of expert selection that look at one token, and the choice among rules by load.
#include "experts.pb.h"
#include "scenarios/convert.h"
#include "scenarios/convert_rules.h"
#include "sim/base/text.h"

namespace moecast {
namespace {

ExpertSelection ConvertTuple(const pb::ScheduleTuple& in, const RuleReader& reader) {
  reader.AtMostTopK(in.b(), "b");
  reader.AtMostTopK(in.h(), "h");
  reader.AtMostTopK(in.e(), "e");
  const int64_t layers = reader.model.layer_count();
  if (in.p() > layers) {
    reader.Report("p", "must be at most the model's layers (" + std::to_string(layers) + "), got " +
                           std::to_string(in.p()));
    return NativeTopK{};
  }
  const std::vector<int32_t> moe_layers = reader.MoeLayers();
  return LayerSchedule{LayerScheduleFromTuple({.b = in.b(), .h = in.h(), .e = in.e(), .p = in.p()},
                                              layers, moe_layers)};
}

ExpertSelection ConvertList(const pb::ScheduleList& in, const RuleReader& reader) {
  const std::string field = "k_per_moe_layer";
  const int64_t wanted = reader.model.moe_layer_count();
  if (in.k_per_moe_layer_size() != wanted) {
    reader.Report(field, "must have one entry per MoE layer (" + std::to_string(wanted) +
                             "), got " + std::to_string(in.k_per_moe_layer_size()));
  }
  for (int i = 0; i < in.k_per_moe_layer_size(); ++i) {
    reader.AtMostTopK(in.k_per_moe_layer(i), field + "." + std::to_string(i));
  }
  return LayerSchedule{{in.k_per_moe_layer().begin(), in.k_per_moe_layer().end()}};
}

ExpertSelection ConvertAsetDerived(const pb::AsetDerived& in, const RuleReader& reader) {
  reader.AtMostTopK(in.min_k(), "min_k");
  return AsetDerived{.threshold = reader.PerLayer(in.threshold(), "threshold"),
                     .penalty = in.penalty(),
                     .min_k = in.min_k()};
}

ExpertSelection ConvertTokenRule(const pb::Experts& in, const RuleReader& reader) {
  if (in.has_uniform_top_k()) {
    reader.Below("uniform_top_k").AtMostTopK(in.uniform_top_k().k(), "k");
    return UniformTopK{in.uniform_top_k().k()};
  }
  if (in.has_layer_schedule()) {
    const pb::LayerSchedule& schedule = in.layer_schedule();
    const RuleReader below = reader.Below("layer_schedule");
    return schedule.has_tuple() ? ConvertTuple(schedule.tuple(), below.Below("tuple"))
                                : ConvertList(schedule.list(), below.Below("list"));
  }
  if (in.has_ratio_to_best()) {
    return RatioToBest{
        reader.Below("ratio_to_best").PerLayer(in.ratio_to_best().threshold(), "threshold")};
  }
  if (in.has_top_p()) return TopP{reader.Below("top_p").PerLayer(in.top_p().mass(), "mass")};
  if (in.has_aset_derived()) {
    return ConvertAsetDerived(in.aset_derived(), reader.Below("aset_derived"));
  }
  return NativeTopK{};
}

ExpertRule ConvertRule(const pb::Experts& in, const RuleReader& reader) {
  if (auto rule = ConvertStepRule(in, reader)) return *std::move(rule);
  return ConvertTokenRule(in, reader);
}

/// Bounds must rise and stand in every arm but the last.
void CheckBounds(const pb::AdaptiveExperts& in, const RuleReader& reader) {
  const int last = in.arms_size() - 1;
  if (last < 1) reader.Report("arms", "needs at least two rules to choose from");
  for (int i = 0; i <= last; ++i) {
    const std::string field = "arms." + std::to_string(i) + ".below";
    if (i == last && in.arms(i).has_below()) {
      reader.Report(field, "must be absent in the last arm, which acts above every bound");
    } else if (i < last && !in.arms(i).has_below()) {
      reader.Report(field, "must be given in every arm but the last");
    } else if (i > 0 && i < last && in.arms(i).below() <= in.arms(i - 1).below()) {
      reader.Report(field, "must be above the bound before it (" +
                               ShortestDouble(in.arms(i - 1).below()) + "), got " +
                               ShortestDouble(in.arms(i).below()));
    }
  }
}

LoadMeasure ConvertMeasure(pb::AdaptiveExperts::Measure in) {
  switch (in) {
    case pb::AdaptiveExperts::queue:
      return LoadMeasure::kQueue;
    case pb::AdaptiveExperts::slo_slack:
      return LoadMeasure::kSloSlack;
    default:
      return LoadMeasure::kBatch;
  }
}

ExpertPolicy ConvertAdaptive(const pb::AdaptiveExperts& in, const RuleReader& reader) {
  CheckBounds(in, reader);
  ExpertPolicy policy(std::vector<ExpertRule>{});
  policy.choose.measure = ConvertMeasure(in.measure());
  for (int i = 0; i < in.arms_size(); ++i) {
    const pb::AdaptiveArm& arm = in.arms(i);
    const RuleReader below = reader.Below("arms." + std::to_string(i) + ".experts");
    if (arm.experts().has_adaptive()) {
      below.Report("adaptive", "a rule chosen by load cannot itself choose by load");
    }
    policy.rules.push_back(ConvertRule(arm.experts(), below));
    if (i + 1 < in.arms_size()) policy.choose.below.push_back(arm.below());
  }
  return policy;
}

}  // namespace

void RuleReader::Report(const std::string& field, const Errors& errors) const {
  for (const Error& error : errors) Report(field, error.where + ": " + error.message);
}

void RuleReader::AtMostTopK(int64_t k, const std::string& field) const {
  if (k <= model.moe->top_k) return;
  Report(field, "must be at most the model's top_k (" + std::to_string(model.moe->top_k) +
                    "), got " + std::to_string(k));
}

void RuleReader::AtMostExperts(int64_t count, const std::string& field) const {
  if (count <= model.moe->experts) return;
  Report(field, "must be at most the model's experts (" + std::to_string(model.moe->experts) +
                    "), got " + std::to_string(count));
}

PerMoeLayer RuleReader::PerLayer(const google::protobuf::RepeatedField<double>& in,
                                 const std::string& field) const {
  if (in.size() != 1 && in.size() != model.moe_layer_count()) {
    Report(field, "must have one entry, or one per MoE layer (" +
                      std::to_string(model.moe_layer_count()) + "), got " +
                      std::to_string(in.size()));
  }
  return {{in.begin(), in.end()}};
}

std::vector<int32_t> RuleReader::MoeLayers() const {
  std::vector<int32_t> layers;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (model.layers[i].feed_forward == FeedForwardKind::kMoe) {
      layers.push_back(static_cast<int32_t>(i));
    }
  }
  return layers;
}

ExpertPolicy ConvertExperts(const pb::Experts& in, const ModelSpec& model,
                            const FieldReporter& report) {
  if (in.has_native()) return {};
  if (!model.moe) {
    report("experts", "must be native: model '" + model.name + "' has no experts");
    return {};
  }
  const RuleReader reader{.model = model, .report = report, .path = "experts"};
  if (in.has_adaptive()) return ConvertAdaptive(in.adaptive(), reader.Below("adaptive"));
  return ExpertPolicy(std::vector<ExpertRule>{ConvertRule(in, reader)});
}

}  // namespace moecast
