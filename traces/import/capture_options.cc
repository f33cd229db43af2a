#include "traces/import/capture_options.h"

#include <algorithm>
#include <utility>

#include "traces/routing_codec.h"
#include "traces/yaml_fields.h"

namespace moecast {
namespace {

constexpr int64_t kMaxLayers = 10000;

/// The value of a key, null where there is none: what yaml-cpp returns then throws when asked.
YAML::Node ValueOf(const YAML::Node& node, const char* key) {
  const YAML::Node value = node.IsMap() ? node[key] : YAML::Node();
  return value.IsDefined() ? value : YAML::Node();
}

/// layers: a list of {repeat, pattern: [{feed_forward: dense | moe}]}.
void ReadLayers(YamlFields& fields, const YAML::Node& root, CaptureModel& model) {
  const YAML::Node runs = ValueOf(root, "layers");
  if (!runs.IsSequence()) return fields.Fail("layers", "must be a list");
  for (const YAML::Node& run : runs) {
    const YAML::Node pattern = ValueOf(run, "pattern");
    const YAML::Node repeats = ValueOf(run, "repeat");
    const int64_t repeat = repeats.IsScalar() ? repeats.as<int64_t>(0) : 0;
    if (repeat < 1 || repeat > kMaxLayers || !pattern.IsSequence() || pattern.size() == 0) {
      return fields.Fail("layers", "must have runs of {repeat, pattern}");
    }
    for (int64_t i = 0; i < repeat; ++i) {
      for (const YAML::Node& layer : pattern) {
        const YAML::Node feed_forward = ValueOf(layer, "feed_forward");
        const bool is_moe = feed_forward.IsScalar() && feed_forward.Scalar() == "moe";
        if (model.layers >= kMaxLayers) return fields.Fail("layers", "are too many");
        if (is_moe) model.moe_layers.push_back(static_cast<int32_t>(model.layers));
        ++model.layers;
      }
    }
  }
}

std::string Count(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what;
}

/// Takes what is known of a figure from the model and the capture, which must agree.
Result<int64_t> Agree(int64_t model, int64_t capture, const std::string& what,
                      const std::string& where) {
  if (model > 0 && capture > 0 && model != capture) {
    return Error{
        "the capture has " + Count(capture, what) + ", the model has " + std::to_string(model),
        where};
  }
  if (model > 0 || capture > 0) return std::max(model, capture);
  return Error{"the capture does not say the number of " + what + "; name the model", where};
}

}  // namespace

Result<CaptureModel> ReadCaptureModel(const std::string& file, const std::string& bytes) {
  SIM_TRY(const YAML::Node root, LoadYamlMapping(file, bytes));
  Errors errors;
  YamlFields fields(root, file, "", errors);
  CaptureModel model;
  model.name = fields.Text("name");
  if (!fields.Has("moe")) return Error{"is a dense model: it has no field 'moe'", file};
  YamlFields moe = fields.Mapping("moe");
  model.experts = moe.Whole("experts", {1, kMaxRoutingExperts});
  model.top_k = moe.Whole("top_k", {1, model.experts});
  model.scoring = static_cast<GateScoring>(
      moe.OneOf("scoring", {"softmax", "softmax_after_top_k", "sigmoid", "sigmoid_bias",
                            "sparsemixer", "group_softmax"}));
  if (moe.Has("groups")) model.groups = moe.Whole("groups", {1, model.experts});
  if (moe.Has("top_groups")) model.top_groups = moe.Whole("top_groups", {1, model.groups});
  ReadLayers(fields, root, model);
  if (errors.empty() && model.moe_layers.empty()) fields.Fail("layers", "hold no MoE layer");
  if (!errors.empty()) return errors;
  return model;
}

Result<LayerSelection> SelectLayers(int64_t capture_layers, const CaptureModel& model,
                                    const std::string& where) {
  LayerSelection selection;
  const auto moe_layers = static_cast<int64_t>(model.moe_layers.size());
  if (moe_layers == 0) {
    if (capture_layers > kMaxLayers) {
      return Error{"the capture has " + Count(capture_layers, "layers") + ", at most " +
                       std::to_string(kMaxLayers) + " are read",
                   where};
    }
    for (int64_t layer = 0; layer < capture_layers; ++layer) {
      selection.rows.push_back(layer);
      selection.moe_layers.push_back(static_cast<int32_t>(layer));
    }
    return selection;
  }
  selection.moe_layers = model.moe_layers;
  const bool all_layers =
      model.layers > 0 ? capture_layers == model.layers : capture_layers > model.moe_layers.back();
  for (int64_t i = 0; i < moe_layers; ++i) {
    selection.rows.push_back(all_layers ? model.moe_layers[static_cast<size_t>(i)] : i);
  }
  if (all_layers || capture_layers == moe_layers) return selection;
  return Error{"the capture has " + Count(capture_layers, "layers") + "; the model has " +
                   (model.layers > 0 ? std::to_string(model.layers) + ", " : "") +
                   Count(moe_layers, "of them MoE layers"),
               where};
}

Result<SlotMap> MapSlots(const ExpertPlacement& placement, const LayerSelection& selection,
                         const CapturedSlots& captured, const std::string& where) {
  const SlotMap& layers = placement.physical_to_logical;
  const bool by_capture = std::ssize(layers) == captured.layers;
  if (!by_capture && layers.size() != selection.rows.size()) {
    return Error{"the placement has " + Count(std::ssize(layers), "layers") + ", the capture has " +
                     std::to_string(captured.layers) + ", " +
                     Count(std::ssize(selection.rows), "of them MoE layers"),
                 where};
  }
  SlotMap map;
  for (size_t i = 0; i < selection.rows.size(); ++i) {
    map.push_back(layers[by_capture ? static_cast<size_t>(selection.rows[i]) : i]);
    const int32_t largest = *std::ranges::max_element(map.back());
    const bool slots_agree = captured.slots == 0 || std::ssize(map.back()) == captured.slots;
    if (largest < captured.experts && slots_agree) continue;
    return Error{"the placement's layer " + std::to_string(i) + " has " +
                     Count(std::ssize(map.back()), "slots for experts up to ") +
                     std::to_string(largest) + "; the capture has " +
                     (captured.slots == 0 ? "" : Count(captured.slots, "slots and ")) +
                     Count(captured.experts, "experts"),
                 where};
  }
  return map;
}

Result<RoutingHeader> CaptureHeader(const CaptureModel& model, const RoutingHeader& capture,
                                    const std::string& where) {
  RoutingHeader header = capture;
  header.model = model.name;
  SIM_TRY(const int64_t experts, Agree(model.experts, capture.experts, "experts", where));
  SIM_TRY(const int64_t top_k,
          Agree(model.top_k, capture.top_k, "experts per token (top-k)", where));
  header.experts = static_cast<int32_t>(experts);
  header.top_k = static_cast<int32_t>(top_k);
  const Status usable = CheckHeader(header);
  if (!usable.ok()) return Error{usable.errors()[0].message, where};
  return header;
}

}  // namespace moecast
