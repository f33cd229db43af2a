// The arguments by which every verb names a scenario: FILE, --set and --catalog.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/result.h"

namespace moecast {

struct ScenarioArguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string catalog;  // empty: FindCatalog's
};

/// Registers the arguments. REQUIRES: `arguments` outlives `command`.
void AddScenarioArguments(CLI::App& command, ScenarioArguments& arguments);
/// The same with --scenario FILE.
void AddNamedScenarioArguments(CLI::App& command, ScenarioArguments& arguments);

/// The catalog folder: the one named, else ../share/moecast/catalog beside the executable, else the
/// source tree's. ERRORS: none of them is a folder (lists where it looked).
Result<std::filesystem::path> FindCatalog(const std::filesystem::path& named);

Result<Study> LoadStudy(const ScenarioArguments& arguments);

/// Prints the errors on stderr. RETURNS: kExitBadInput.
int FailWith(const Errors& errors);

/// Writes to stdout and flushes. ERRORS: a full disk or a closed pipe behind it.
Status PrintToStdout(std::string_view text);

}  // namespace moecast
