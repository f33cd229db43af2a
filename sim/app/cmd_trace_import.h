// The verbs of `moecast trace` that read what engines write.
#pragma once

#include <CLI/CLI.hpp>

#include "traces/routing_import.h"

namespace moecast {

/// One line on the terminal that is rewritten; nothing when stderr is a file.
ImportProgress ProgressLine();

/// `trace import`: raw arrays by a description, or captures of engines by their content.
void AddTraceImport(CLI::App& trace, int& exit_code);
/// `trace placement`: checks a placement of experts and writes it for another engine.
void AddTracePlacement(CLI::App& trace, int& exit_code);

}  // namespace moecast
