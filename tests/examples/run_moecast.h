// Runs the moecast binary as a user does: arguments in; exit code, stdout and stderr out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace moecast::test {

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

struct RunSettings {
  std::string before{};    // shell text that runs first in the same process: "ulimit -f 1;"
  std::string redirect{};  // where stdout goes instead: "/dev/full"
};
/// Runs the binary in the source root.
Outcome RunMoecast(const std::vector<std::string>& arguments, const RunSettings& settings = {});

/// The folder of real data beside the source tree; empty when this checkout has none.
std::filesystem::path SharedData();

}  // namespace moecast::test
