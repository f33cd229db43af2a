// `moecast trace tune`: see commands.h for exit codes.
#pragma once

#include <CLI/CLI.hpp>

namespace moecast {

void AddTraceTune(CLI::App& trace, int& exit_code);

}  // namespace moecast
