// A twin for another model: other experts, top-k or layers, other amounts, another mix of domains.
// docs/model/twin.md, "Other shapes".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/result.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

struct TwinChanges {
  std::optional<int64_t> experts = {};
  std::optional<int64_t> top_k = {};
  std::optional<int64_t> layers = {};  // MoE layers, numbered on from the twin's first
  std::optional<int64_t> sequences = {};
  std::optional<int64_t> prefill_tokens = {};
  std::optional<int64_t> decode_tokens = {};
  std::vector<std::pair<std::string, double>> domains =
      {};  // new shares; domains not named have none
};

/// ERRORS: a value out of range, a domain the twin has not (with the nearest name).
/// REQUIRES: CheckTwin(twin) is ok.
Result<RoutingTwin> ChangeTwin(RoutingTwin twin, const TwinChanges& changes);

}  // namespace moecast
