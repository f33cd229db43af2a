#include "sim/policy/kv/asymkv.h"

#include <string>

#include "sim/policy/kv/cached_layers.h"

namespace moecast {

KvPlan AsymKv::Plan(const ModelSpec& model) const {
  std::vector<KvScheme> layers;
  for (int64_t l = 0; l < CachedLayers(model); ++l) {
    KvScheme& layer = layers.emplace_back(scheme);
    if (l >= key_layers) layer.layer.keys.code.bits = 1;
    if (l >= value_layers) layer.layer.values.code.bits = 1;
  }
  const std::string name =
      scheme.name + " " + std::to_string(key_layers) + "/" + std::to_string(value_layers);
  return {.stores = {MakeKvStore(name, model, layers)}};
}

}  // namespace moecast
