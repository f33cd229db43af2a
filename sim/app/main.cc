// The moecast binary: parse arguments, call one function, print.
#include <CLI/CLI.hpp>

#include "sim/app/commands.h"

int main(int argc, char** argv) {
  CLI::App app("moecast forecasts how Mixture-of-Experts language models serve", "moecast");
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
