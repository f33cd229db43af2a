// The moecast binary: parse arguments, call one function, print.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "sim/app/commands.h"
#include "sim/base/text.h"
#include "sim/base/version.h"

namespace {

std::vector<std::string> VerbNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  return names;
}

/// What to say when the first word is no verb of the app; empty when it is one, or a flag. CLI11
/// would only say that a verb is missing.
std::string UnknownVerb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  const std::string word = argv[1];
  const std::vector<std::string> names = VerbNames(app);
  if (std::find(names.begin(), names.end(), word) != names.end()) return {};
  return "unknown verb '" + word + "'" + moecast::DidYouMean(word, names) +
         " (moecast --help lists the verbs)\n";
}

int Run(int argc, char** argv) {
  CLI::App app("moecast forecasts how Mixture-of-Experts language models serve.", "moecast");
  app.set_version_flag("--version", "moecast " + std::string(moecast::Version()) + ", commit " +
                                        std::string(moecast::GitCommit()));
  app.footer(
      "Start here:  moecast run scenarios/examples/01_first_forecast.yaml\n"
      "Each verb has its own help:  moecast run --help\n");
  app.require_subcommand(1);
  int exit_code = moecast::kExitOk;
  moecast::AddRunCommand(app, exit_code);
  moecast::AddExplainCommand(app, exit_code);
  moecast::AddCalibrateCommand(app, exit_code);
  moecast::AddImportCommand(app, exit_code);
  moecast::AddTraceCommand(app, exit_code);
  moecast::AddValidateCommand(app, exit_code);
  if (const std::string error = UnknownVerb(app, argc, argv); !error.empty()) {
    std::fputs(error.c_str(), stderr);
    return moecast::kExitBadInput;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? moecast::kExitOk : moecast::kExitBadInput;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, most likely
    std::fprintf(stderr, "moecast stopped: %s\n", error.what());
    return moecast::kExitCheckFailed;
  }
}
