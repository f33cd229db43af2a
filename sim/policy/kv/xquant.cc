#include "sim/policy/kv/xquant.h"

#include <string>

#include "sim/policy/kv/cached_layers.h"

namespace moecast {

KvPlan XQuantKv::Plan(const ModelSpec& model) const {
  std::vector<KvScheme> layers;
  for (int64_t l = 0; l < CachedLayers(model); ++l) {
    KvScheme& layer = layers.emplace_back(scheme);
    KvCode& keys = layer.layer.keys.code;
    KvCode& values = layer.layer.values.code;
    if (l >= key_layers) keys.bits = 1;
    if (l >= value_layers) values.bits = 1;
    const bool upper = l % 2 == 1;
    keys.shared = upper && l >= shared_keys_from;
    values.shared = upper && l >= shared_values_from;
  }
  const std::string name = scheme.name + " " + std::to_string(key_layers) + "_" +
                           std::to_string(value_layers) + "_" + std::to_string(shared_keys_from) +
                           "_" + std::to_string(shared_values_from);
  return {.stores = {MakeKvStore(name, model, layers)}};
}

}  // namespace moecast
