// Loads scenario files: YAML walked strictly along scenario.proto, catalog names resolved, `--set`
// overrides applied, variants and loads expanded, everything validated. All errors at once, each
// with file:line:column, field, value, what is allowed and the nearest valid name.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "scenarios/scenario.h"
#include "sim/base/result.h"

namespace moecast {

/// `overrides` are "path=yaml" strings ("workload.stop.requests=500"), applied to the base scenario
/// before variants and loads. `catalog` is the folder scenarios/catalog.
Result<Study> LoadStudy(const std::filesystem::path& file, std::span<const std::string> overrides,
                        const std::filesystem::path& catalog);

}  // namespace moecast
