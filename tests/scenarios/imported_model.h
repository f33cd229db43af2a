// Importing a config.json in tests: through the importer, its YAML and the scenario loader.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "scenarios/import_model.h"
#include "sim/model/model_spec.h"
#include "tests/scenarios/study_loading.h"

namespace moecast::test {

inline Result<ImportedModel> Import(const std::string& config) {
  return ParseModelConfig(config, "config.json", "imported", kCatalog);
}

/// The model that a scenario with the imported entry written out gets.
inline ModelSpec LoadImported(const ImportedModel& imported) {
  std::string text = kMinimal;
  std::istringstream lines(imported.yaml);
  std::string entry = "model:\n";
  for (std::string line; std::getline(lines, line);) entry += "  " + line + "\n";
  const std::string named = "model: DeepSeek-V2-Lite\n";
  text.replace(text.find(named), named.size(), entry);
  return OnlyScenario(text).model;
}

}  // namespace moecast::test
