// KvByAge: the newest tokens of a sequence (and its first ones) in wider codes than the older ones.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvByAge {
  struct Band {
    int64_t newest = 0;  // tokens younger than this that no younger band holds
    KvScheme scheme{};   // keeps every token alike
    friend bool operator==(const Band&, const Band&) = default;
  };
  std::vector<Band> bands{};  // youngest first, `newest` ascending
  KvScheme oldest{};          // of every other token; keeps every token alike
  int64_t sink = 0;           // first tokens, kept as the youngest for good
  int64_t flush = 1;          // tokens that pass into an older band together; a power of two

  [[nodiscard]] KvPlan Plan(const ModelSpec& model) const;
  friend bool operator==(const KvByAge&, const KvByAge&) = default;
};

}  // namespace moecast
