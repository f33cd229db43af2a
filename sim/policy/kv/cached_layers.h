// CachedLayers: what a policy by layer counts.
#pragma once

#include <cstdint>

#include "sim/model/model_spec.h"

namespace moecast {

/// Layers of the model that cache keys and values: all but those with linear attention.
inline int64_t CachedLayers(const ModelSpec& model) {
  return model.layer_count() - model.attention_layer_count(AttentionKind::kLinear);
}

}  // namespace moecast
