// Prints docs/scenario.md.
#include <cstdio>

#include "scenarios/reference.h"

int main() {
  const std::string text = moecast::ScenarioReference();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
