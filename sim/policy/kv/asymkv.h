// AsymKv: keys of the first layers and values of the first layers in the scheme's bits, the others
// in one bit. [AsymKV25]
#pragma once

#include <cstdint>

#include "sim/model/kv_plan.h"

namespace moecast {

struct AsymKv {
  KvScheme scheme{};         // of the first layers
  int64_t key_layers = 0;    // l_k
  int64_t value_layers = 0;  // l_v

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const;
  friend bool operator==(const AsymKv&, const AsymKv&) = default;
};

}  // namespace moecast
