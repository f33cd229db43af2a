#include "sim/app/scenario_arguments.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "scenarios/scenario_codec.h"
#include "sim/app/commands.h"

namespace moecast {

namespace {

void AddArguments(CLI::App& command, const char* file_option, ScenarioArguments& arguments) {
  command.add_option(file_option, arguments.file, "Scenario file, YAML or JSON")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--set", arguments.overrides,
                  "Override one field of the scenario, e.g. --set workload.stop.requests=500. "
                  "May be given several times")
      ->type_name("PATH=VALUE")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--catalog", arguments.catalog,
                  "Folder of models, GPUs and fabrics; default: the one moecast came with")
      ->type_name("DIR");
}

}  // namespace

void AddScenarioArguments(CLI::App& command, ScenarioArguments& arguments) {
  AddArguments(command, "FILE", arguments);
}

void AddNamedScenarioArguments(CLI::App& command, ScenarioArguments& arguments) {
  AddArguments(command, "--scenario", arguments);
}

Result<std::filesystem::path> FindCatalog(const std::filesystem::path& named) {
  std::error_code code;
  if (!named.empty()) {
    if (std::filesystem::is_directory(named, code)) return named;
    return Error{"the catalog is not a folder", named.string()};
  }
  const std::filesystem::path executable = std::filesystem::read_symlink("/proc/self/exe", code);
  const std::filesystem::path installed =
      executable.parent_path().parent_path() / "share" / "moecast" / "catalog";
  const std::filesystem::path in_source_tree = MOECAST_SOURCE_CATALOG;
  for (const std::filesystem::path& candidate : {installed, in_source_tree}) {
    if (std::filesystem::is_directory(candidate, code)) return candidate;
  }
  return Error{"no catalog found at " + installed.string() + " or " + in_source_tree.string() +
                   "; name it with --catalog DIR",
               ""};
}

Result<Study> LoadStudy(const ScenarioArguments& arguments) {
  SIM_TRY(const std::filesystem::path catalog, FindCatalog(arguments.catalog));
  return LoadStudy(arguments.file, arguments.overrides, catalog);
}

int FailWith(const Errors& errors) {
  std::fputs(ToString(errors).c_str(), stderr);
  return kExitBadInput;
}

Status PrintToStdout(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return Ok();
  return Error{std::string("cannot write the result: ") + std::strerror(errno), "standard output"};
}

}  // namespace moecast
