// KvByLayer: runs of layers, each kept in a scheme of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvByLayer {
  struct Run {
    int64_t layers = 0;
    KvScheme scheme{};
    friend bool operator==(const Run&, const Run&) = default;
  };
  std::vector<Run> runs{};  // together as many layers as the model caches

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const;
  friend bool operator==(const KvByLayer&, const KvByLayer&) = default;
};

}  // namespace moecast
