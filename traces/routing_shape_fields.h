// The fields that every description of a routing trace has: the model and its MoE shape.
#pragma once

#include "traces/routing_chunk.h"
#include "traces/yaml_fields.h"

namespace moecast {

/// Reads model, experts, top_k and moe_layers, a list or {first, count}.
void ReadRoutingShape(YamlFields& fields, RoutingHeader& header);

}  // namespace moecast
