// The parts of a model import: each reads its keys of a ModelConfig into one part of the message.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scenarios/model_config.h"
#include "sim/model/model_spec.h"

namespace moecast {

namespace pb {
class Model;
}

/// Attention shape, window and linear attention.
void ImportAttention(ModelConfig& config, pb::Model& out);

/// Expert block and dense width. `layers` decides which of them are present.
void ImportFeedForward(ModelConfig& config, const std::vector<LayerSpec>& layers, pb::Model& out);

/// Attention and feed-forward kind of every layer; empty when num_hidden_layers is missing.
std::vector<LayerSpec> ImportLayers(ModelConfig& config);

/// Writes `layers` as few repeated patterns.
void WriteLayerRuns(const std::vector<LayerSpec>& layers, pb::Model& out);

/// Catalog format name of each tensor class of WeightFormats ("attention" -> "fp8-block").
std::map<std::string, std::string> ImportFormats(ModelConfig& config);

/// The window in tokens of layers that have one; 0 when the model has none.
int64_t ImportWindow(ModelConfig& config);

}  // namespace moecast
