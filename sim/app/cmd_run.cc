#include "sim/app/commands.h"

namespace moecast {

void AddRunCommand(CLI::App& app, int& exit_code) {
  static_cast<void>(app);
  static_cast<void>(exit_code);
}

}  // namespace moecast
