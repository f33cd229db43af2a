// Twins as YAML: what `moecast trace fit` writes and `moecast trace synthesize --twin` reads.
// docs/traces.md lists the fields.
#pragma once

#include <filesystem>
#include <string>

#include "sim/base/result.h"
#include "traces/twin/routing_twin.h"

namespace moecast {

/// ERRORS: all of them at once, with file:line:column and field; unknown fields, missing ones,
/// values out of range, lists of the wrong length.
Result<RoutingTwin> ParseTwin(const std::string& file, const std::string& bytes);
Result<RoutingTwin> LoadTwin(const std::filesystem::path& path);

/// Reads back as the same twin, but for numbers rounded to four digits after the point.
std::string TwinYaml(const RoutingTwin& twin);

}  // namespace moecast
