#include "sim/policy/kv/by_layer.h"

#include <string>

namespace moecast {

KvPlan KvByLayer::Plan(const ModelSpec& model) const {
  std::vector<KvScheme> layers;
  std::string name;
  for (const Run& run : runs) {
    layers.insert(layers.end(), static_cast<size_t>(run.layers), run.scheme);
    name += (name.empty() ? "" : " + ") + std::to_string(run.layers) + " x " + run.scheme.name;
  }
  return {.stores = {MakeKvStore(name, model, layers)}};
}

}  // namespace moecast
