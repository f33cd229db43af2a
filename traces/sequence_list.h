// The sequences of a raw routing array: lengths and labels from the description itself, from a JSON
// file or from columns of a CSV file.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_import.h"
#include "traces/yaml_fields.h"

namespace moecast {

/// Reads the mapping `sequences` of a description: one of `lengths`, `json` and `csv`, and
/// optionally `category`. Rows of the CSV whose column has the value in `drop` are marked dropped.
/// ERRORS: appended to `errors`, with file:line.
std::vector<ImportSequence> ReadSequences(
    YamlFields& fields, const std::filesystem::path& folder,
    const std::vector<std::pair<std::string, std::string>>& drop, Errors& errors);

}  // namespace moecast
