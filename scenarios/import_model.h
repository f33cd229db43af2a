// Reads a Hugging Face config.json as a catalog model. Models name the same thing differently and
// leave things unsaid; docs/formats/model_config.md has the table.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"

namespace moecast {

struct ImportedModel {
  std::string yaml;                   // a catalog entry
  std::vector<std::string> inferred;  // what config.json left unsaid: "scoring: sigmoid, by ..."
};

/// `name` becomes the entry's name; `catalog` is the folder scenarios/catalog, whose formats the
/// entry refers to. ERRORS: not JSON, missing, contradictory or out-of-range keys, parts that no
/// ModelSpec can express.
Result<ImportedModel> ImportModel(const std::filesystem::path& config, const std::string& name,
                                  const std::filesystem::path& catalog);

/// The same for a text that would stand in `config`.
Result<ImportedModel> ParseModelConfig(std::string_view text, const std::filesystem::path& config,
                                       const std::string& name,
                                       const std::filesystem::path& catalog);

}  // namespace moecast
