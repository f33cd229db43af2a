#include "sim/app/commands.h"

namespace moecast {

void AddTraceCommand(CLI::App& app, int& exit_code) {
  static_cast<void>(app);
  static_cast<void>(exit_code);
}

}  // namespace moecast
