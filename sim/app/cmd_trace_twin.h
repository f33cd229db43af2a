// `moecast trace fit`, `synthesize` and `take`: twins of traces, and parts of traces to judge them.
#pragma once

#include <CLI/CLI.hpp>

namespace moecast {

void AddTraceTwin(CLI::App& trace, int& exit_code);

}  // namespace moecast
