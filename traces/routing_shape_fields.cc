#include "traces/routing_shape_fields.h"

#include "traces/routing_codec.h"

namespace moecast {
namespace {

constexpr WholeRange kLayerIndex = {0, kMaxRoutingLayers - 1};

std::vector<int64_t> ReadLayers(YamlFields& fields) {
  if (fields.IsList("moe_layers")) return fields.WholeList("moe_layers", kLayerIndex);
  YamlFields range = fields.Mapping("moe_layers");
  range.AllowOnly({"first", "count"});
  const int64_t first = range.Whole("first", kLayerIndex);
  const int64_t count = range.Whole("count", {1, kMaxRoutingLayers - first});
  std::vector<int64_t> layers;
  for (int64_t i = 0; i < count; ++i) layers.push_back(first + i);
  return layers;
}

}  // namespace

void ReadRoutingShape(YamlFields& fields, RoutingHeader& header) {
  header.model = fields.Text("model");
  header.experts = static_cast<int32_t>(fields.Whole("experts", {1, kMaxRoutingExperts}));
  header.top_k = static_cast<int32_t>(fields.Whole("top_k", {1, header.experts}));
  for (const int64_t layer : ReadLayers(fields)) {
    header.moe_layers.push_back(static_cast<int32_t>(layer));
  }
}

}  // namespace moecast
