// The reference of scenario files: every field with type, default, allowed values and meaning,
// printed from scenario.proto so that it cannot fall behind. docs/scenario.md is this text.
#pragma once

#include <string>

namespace moecast {

/// Markdown.
std::string ScenarioReference();

}  // namespace moecast
