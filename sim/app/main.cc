// The moecast binary: parse arguments, call one function, print.
#include <CLI/CLI.hpp>
#include <string>

#include "sim/app/commands.h"
#include "sim/base/version.h"

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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? moecast::kExitOk : moecast::kExitBadInput;
  }
  return exit_code;
}
