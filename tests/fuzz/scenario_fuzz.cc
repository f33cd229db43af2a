// A scenario file, up to the first 0 byte, then one --set override. What loads must resolve to a
// fixed point; what does not must say where.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scenarios/scenario_codec.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const std::string text = input.substr(0, end);
  std::vector<std::string> overrides;
  if (end != std::string::npos) overrides.push_back(input.substr(end + 1));
  const std::string catalog = MOECAST_SOURCE "/scenarios/catalog";
  const auto study = moecast::ParseStudy(text, "fuzz.yaml", overrides, catalog);
  if (!study.ok()) {
    for (const moecast::Error& error : study.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  const auto again = moecast::ParseStudy(study->resolved_yaml, "again.yaml", {}, catalog);
  SIM_CHECK(again.ok());
  SIM_CHECK(again->resolved_yaml == study->resolved_yaml);
  return 0;
}
