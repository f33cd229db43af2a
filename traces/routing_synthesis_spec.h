// Reads the YAML description of a synthetic routing trace: the model's shape and the parameters of
// SyntheticRouting, under the same names.
#pragma once

#include <cstdint>
#include <filesystem>

#include "sim/base/result.h"
#include "traces/routing_chunk.h"
#include "traces/routing_source_spec.h"

namespace moecast {

struct SyntheticTrace {
  RoutingHeader header;
  SyntheticRouting routing;
  uint64_t seed = 1;
};

/// ERRORS: all of them at once, with file:line:column. Parameters that are absent keep the defaults
/// of SyntheticRouting.
Result<SyntheticTrace> LoadSyntheticTrace(const std::filesystem::path& description);

}  // namespace moecast
