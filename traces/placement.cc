#include "traces/placement.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "sim/base/comma_list.h"

namespace moecast {
namespace {

Error Problem(std::string message) { return Error{std::move(message), "placement"}; }

Status CheckLayer(const std::vector<int32_t>& slots, int32_t last_expert, size_t layer) {
  const std::string place = "layer " + std::to_string(layer) + " of the placement";
  const std::set<int32_t> experts(slots.begin(), slots.end());
  if (*experts.begin() < 0) {
    return Problem(place + " has expert " + std::to_string(*experts.begin()) +
                   ", experts are numbered from 0");
  }
  if (*experts.rbegin() == last_expert && std::ssize(experts) == last_expert + 1) return Ok();
  int32_t missing = 0;
  while (experts.contains(missing)) ++missing;
  return Problem(place + " has no slot for expert " + std::to_string(missing));
}

/// "[0, 1, 2]".
std::string ListText(std::span<const int32_t> values) {
  return "[" + CommaList(values, [](int32_t value) { return std::to_string(value); }) + "]";
}

std::string RenderSglang(const ExpertPlacement& placement) {
  std::string text = "{\"physical_to_logical_map\": [";
  for (size_t layer = 0; layer < placement.physical_to_logical.size(); ++layer) {
    const std::vector<int32_t>& slots = placement.physical_to_logical[layer];
    text += (layer == 0 ? "\n  " : ",\n  ") + ListText(slots);
  }
  return text + "\n]}\n";
}

Result<std::string> RenderTrtllm(const ExpertPlacement& placement) {
  if (placement.layers.empty()) {
    return Problem("TensorRT-LLM names layers by their index in the model, which is not known");
  }
  std::string text = "num_slots: " + std::to_string(placement.physical_to_logical[0].size()) +
                     "\ninitial_global_assignments:\n";
  for (size_t i = 0; i < placement.layers.size(); ++i) {
    const std::vector<int32_t>& slots = placement.physical_to_logical[i];
    text += "  " + std::to_string(placement.layers[i]) + ": " + ListText(slots) + "\n";
  }
  return text + "layer_updates_per_iter: 0\n";
}

Result<std::string> RenderVllmAscend(const ExpertPlacement& placement) {
  if (placement.ranks == 0) return Problem("vllm-ascend lists devices, whose number is not known");
  const auto devices = static_cast<size_t>(placement.ranks);
  const size_t layers = placement.physical_to_logical.size();
  std::string text = "{\"moe_layer_count\": " + std::to_string(layers) + ", \"layer_list\": [";
  for (size_t layer = 0; layer < layers; ++layer) {
    const std::vector<int32_t>& slots = placement.physical_to_logical[layer];
    const size_t each = slots.size() / devices;
    text += (layer == 0 ? "\n  {" : ",\n  {");
    text += "\"layer_id\": " + std::to_string(layer) +
            ", \"device_count\": " + std::to_string(devices) + ", \"device_list\": [";
    for (size_t device = 0; device < devices; ++device) {
      text += (device == 0 ? "\n    {" : ",\n    {");
      text += "\"device_id\": " + std::to_string(device) +
              ", \"device_expert\": " + ListText(std::span(slots).subspan(device * each, each)) +
              "}";
    }
    text += "]}";
  }
  return text + "\n]}\n";
}

}  // namespace

std::string_view Name(PlacementFormat format) {
  switch (format) {
    case PlacementFormat::kSglang:
      return "sglang";
    case PlacementFormat::kTrtllm:
      return "trtllm";
    case PlacementFormat::kVllmAscend:
      return "vllm-ascend";
  }
  return {};
}

Status CheckPlacement(const ExpertPlacement& placement) {
  const auto& layers = placement.physical_to_logical;
  if (layers.empty() || layers[0].empty())
    return Problem("the placement has no layers or no slots");
  if (!placement.layers.empty() && placement.layers.size() != layers.size()) {
    return Problem("the placement names " + std::to_string(placement.layers.size()) +
                   " layers for " + std::to_string(layers.size()));
  }
  const int32_t last_expert = *std::ranges::max_element(layers[0]);
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].size() != layers[0].size()) {
      return Problem("layer " + std::to_string(i) + " of the placement has " +
                     std::to_string(layers[i].size()) + " slots, layer 0 has " +
                     std::to_string(layers[0].size()));
    }
    SIM_RETURN_IF_ERROR(CheckLayer(layers[i], last_expert, i));
  }
  if (placement.ranks < 0 ||
      (placement.ranks > 0 && std::ssize(layers[0]) % placement.ranks != 0)) {
    return Problem(std::to_string(layers[0].size()) + " slots do not divide evenly among " +
                   std::to_string(placement.ranks) + " ranks");
  }
  return Ok();
}

Result<std::string> RenderPlacement(const ExpertPlacement& placement, PlacementFormat format) {
  SIM_RETURN_IF_ERROR(CheckPlacement(placement));
  switch (format) {
    case PlacementFormat::kSglang:
      return RenderSglang(placement);
    case PlacementFormat::kTrtllm:
      return RenderTrtllm(placement);
    case PlacementFormat::kVllmAscend:
      return RenderVllmAscend(placement);
  }
  return Problem("unknown format");
}

}  // namespace moecast
