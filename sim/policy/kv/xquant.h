// XQuantKv: AsymKv, and from a layer on every odd layer uses the codes of the layer below it with
// scales and zero points of its own. What a sequence holds shrinks; what attention reads does not.
// [XQuant25]
#pragma once

#include <cstdint>

#include "sim/model/kv_plan.h"

namespace moecast {

struct XQuantKv {
  KvScheme scheme{};               // of the first layers
  int64_t key_layers = 0;          // kq: keys in the scheme's bits, the others in one
  int64_t value_layers = 0;        // vq
  int64_t shared_keys_from = 0;    // km: first layer that may use the codes below it
  int64_t shared_values_from = 0;  // vm
  /// How far the ends of a group's range are pulled in, for the scheme's bits and for one bit.
  /// Changes quality, not time.
  double eta = 0;
  double eta_1bit = 0;

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const;
  friend bool operator==(const XQuantKv&, const XQuantKv&) = default;
};

}  // namespace moecast
