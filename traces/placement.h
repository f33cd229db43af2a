// ExpertPlacement: which logical expert each physical slot of each layer holds. Read from and
// written to the files that engines load: plan here, deploy there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/array_ref.h"
#include "traces/formats/byte_file.h"

namespace moecast {

/// Every logical expert 0 .. max has at least one slot in every layer; layers have equally many
/// slots. Ranks own equal runs of consecutive slots.
struct ExpertPlacement {
  /// [layer][slot] logical expert. Layers in the file's order.
  std::vector<std::vector<int32_t>> physical_to_logical = {};
  /// Model layer of each; empty when the file does not say (SGLang: all model layers, dense ones
  /// too; vllm-ascend: MoE layers only).
  std::vector<int32_t> layers = {};
  int64_t ranks = 0;  // 0: the file does not say
  friend bool operator==(const ExpertPlacement&, const ExpertPlacement&) = default;
};

enum class PlacementFormat {
  kSglang,      // --init-expert-location: {"physical_to_logical_map": [[..]]}, JSON or torch.save
  kTrtllm,      // MoE load balancer: num_slots, initial_global_assignments, YAML
  kVllmAscend,  // expert_map_path: {"moe_layer_count", "layer_list": [..]}, JSON
};
/// "sglang", "trtllm", "vllm-ascend".
std::string_view Name(PlacementFormat format);

/// Ok, or what no engine could load: no layers, layers of unequal slots, an expert without a slot,
/// slots that `ranks` does not divide.
Status CheckPlacement(const ExpertPlacement& placement);

/// Reads any of the formats, told by content. ERRORS: none of them, a value of the wrong kind,
/// ragged lists, devices out of order, CheckPlacement's; with the byte or line.
Result<ExpertPlacement> ReadPlacement(const std::filesystem::path& path);

/// The same from a tensor [layer][slot] of an open file, as SGLang's recorder keeps the placement
/// in force; not yet checked by CheckPlacement. ERRORS: another shape or type, a value that is no
/// expert (with the byte).
Result<ExpertPlacement> PlacementOfTensor(const ByteFile& file, const ArrayRef& array);

/// The file's text. ERRORS: CheckPlacement's; vllm-ascend needs `ranks`, TensorRT-LLM needs
/// `layers`.
Result<std::string> RenderPlacement(const ExpertPlacement& placement, PlacementFormat format);

}  // namespace moecast
