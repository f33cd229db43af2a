// Loads scenario files: YAML walked strictly along scenario.proto, catalog names resolved, `--set`
// overrides applied, variants and loads expanded, everything validated. All errors at once, each
// with file:line:column, field, value, what is allowed and the nearest valid name.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "scenarios/scenario.h"
#include "sim/base/result.h"

namespace moecast {

/// Variants times loads of one scenario.
inline constexpr size_t kMaxCases = 4096;

/// `overrides` are "path=yaml" strings ("workload.stop.requests=500"), applied to the base scenario
/// before loads and variants, in this order. `catalog` is the folder scenarios/catalog. Relative
/// paths of files start at the scenario's folder, those in `overrides` at the working directory.
/// COST: milliseconds, and one read of every input file for its hash.
Result<Study> LoadStudy(const std::filesystem::path& file, std::span<const std::string> overrides,
                        const std::filesystem::path& catalog);

/// The same for a text that would stand in `file`.
Result<Study> ParseStudy(std::string_view text, const std::filesystem::path& file,
                         std::span<const std::string> overrides,
                         const std::filesystem::path& catalog);

}  // namespace moecast
