// The moecast binary: parse arguments, call one function, print.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "sim/app/commands.h"
#include "sim/base/text.h"
#include "sim/base/version.h"

namespace {

/// The first word when it is no verb of the app; empty otherwise. CLI11 would only say that a verb
/// is missing.
std::string UnknownVerb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-' || app.get_subcommand_no_throw(argv[1]) != nullptr) return {};
  return argv[1];
}

int FailUnknownVerb(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  std::fprintf(stderr, "unknown verb '%s'%s; moecast --help lists them\n", word.c_str(),
               moecast::DidYouMean(word, names).c_str());
  return moecast::kExitBadInput;
}

}  // namespace

int main(int argc, char** argv) {
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
  moecast::AddImportCommand(app, exit_code);
  moecast::AddTraceCommand(app, exit_code);
  if (const std::string word = UnknownVerb(app, argc, argv); !word.empty()) {
    return FailUnknownVerb(app, word);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? moecast::kExitOk : moecast::kExitBadInput;
  }
  return exit_code;
}
