// What the user tells an importer about the model and the capture: engines leave out of their
// captures what they know anyway.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "sim/model/model_spec.h"
#include "traces/placement.h"
#include "traces/routing_chunk.h"

namespace moecast {

/// The MoE shape of the model that was captured; zeros and empty lists: not known.
struct CaptureModel {
  std::string name = {};
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t layers = 0;                    // of the model, dense ones included
  std::vector<int32_t> moe_layers = {};  // indices into them
  GateScoring scoring = GateScoring::kSoftmax;
  int64_t groups = 1;
  int64_t top_groups = 1;
};

struct CaptureOptions {
  CaptureModel model = {};
  /// Phase of tokens whose capture does not say.
  RoutingPhase phase = RoutingPhase::kPrefill;
  /// Prompt tokens that the engine was asked not to record (routed_experts_prompt_start,
  /// routed_experts_start_len).
  int64_t first_token = 0;
  /// Placement in force, for captures of physical ids that do not hold it.
  std::optional<ExpertPlacement> placement = {};
};

/// Reads the MoE shape of a catalog model (scenarios/catalog/models/NAME.yaml). ERRORS: not such a
/// file, or a dense model.
Result<CaptureModel> ReadCaptureModel(const std::string& file, const std::string& bytes);

/// Which layers of a capture are MoE layers of the model.
struct LayerSelection {
  std::vector<int64_t> rows;        // of the capture
  std::vector<int32_t> moe_layers;  // the model layers they are
};
/// Captures have a row per model layer or per MoE layer; which, is told from their number. Without
/// a known model every row is taken for an MoE layer. ERRORS: a number that fits neither.
Result<LayerSelection> SelectLayers(int64_t capture_layers, const CaptureModel& model,
                                    const std::string& where);

/// [MoE layer][slot] logical expert.
using SlotMap = std::vector<std::vector<int32_t>>;
/// What a capture of physical ids has.
struct CapturedSlots {
  int64_t layers = 0;
  int64_t experts = 0;  // logical
  int64_t slots = 0;    // per layer; 0: it does not say
};
/// The placement's rows for the selected layers; it has a row per captured layer or per MoE layer.
/// ERRORS: other layers, slots or experts.
Result<SlotMap> MapSlots(const ExpertPlacement& placement, const LayerSelection& selection,
                         const CapturedSlots& captured, const std::string& where);

/// The trace's header. `experts` and `top_k` are the capture's, 0 where it does not say.
/// ERRORS: they contradict the model, or neither says.
Result<RoutingHeader> CaptureHeader(const CaptureModel& model, const RoutingHeader& capture,
                                    const std::string& where);

}  // namespace moecast
