// The verbs of the `moecast` binary. Each Add...Command registers its flags on the app and, when
// its verb is chosen, runs and stores the exit code: 0 ok, 1 infeasible or a check failed, 2 bad
// input.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace moecast {

inline constexpr int kExitOk = 0;
inline constexpr int kExitCheckFailed = 1;
inline constexpr int kExitBadInput = 2;

inline constexpr uint64_t kMostThreads = 4096;

void AddRunCommand(CLI::App& app, int& exit_code);
void AddCalibrateCommand(CLI::App& app, int& exit_code);
void AddExplainCommand(CLI::App& app, int& exit_code);
void AddImportCommand(CLI::App& app, int& exit_code);
void AddTraceCommand(CLI::App& app, int& exit_code);
void AddValidateCommand(CLI::App& app, int& exit_code);

}  // namespace moecast
