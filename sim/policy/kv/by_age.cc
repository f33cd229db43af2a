#include "sim/policy/kv/by_age.h"

#include <string>

namespace moecast {

KvPlan KvByAge::Plan(const ModelSpec& model) const {
  KvScheme mix = oldest;
  std::string name;
  for (KvSide* side : {&mix.layer.keys, &mix.layer.values}) {
    side->sink = sink;
    side->flush = flush;
    side->bands.clear();
  }
  for (const Band& band : bands) {
    mix.layer.keys.bands.push_back({.newest = band.newest, .code = band.scheme.layer.keys.code});
    mix.layer.values.bands.push_back(
        {.newest = band.newest, .code = band.scheme.layer.values.code});
    mix.rotated = mix.rotated || band.scheme.rotated;
    name += band.scheme.name + " < " + std::to_string(band.newest) + " < ";
  }
  KvPlan plan = PlanUniformKv(model, mix);
  plan.stores.front().name = name + oldest.name;
  return plan;
}

}  // namespace moecast
