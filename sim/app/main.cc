// The moecast binary: parse arguments, call one function, print.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <span>
#include <string>

#include "sim/app/argument_checks.h"
#include "sim/app/commands.h"
#include "sim/base/temporaries.h"
#include "sim/base/version.h"

namespace {

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
  moecast::RefuseEmptyValues(app);
  app.failure_message([](const CLI::App* called, const CLI::Error& error) {
    return moecast::WrongArgument(*called, error);
  });
  const std::span<char* const> words(argv + 1, argv + (argc > 1 ? argc : 1));
  if (const std::string error = moecast::WrongVerb(app, words); !error.empty()) {
    std::fputs(error.c_str(), stderr);
    return moecast::kExitBadInput;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {
    std::fputs(moecast::UnknownArguments(app).c_str(), stderr);
    return moecast::kExitBadInput;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? moecast::kExitOk : moecast::kExitBadInput;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  moecast::RemoveTemporariesOnInterrupt();
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, most likely
    std::fprintf(stderr, "moecast stopped: %s\n", error.what());
    return moecast::kExitCheckFailed;
  }
}
