// Fuzzes the YAML of twins: any bytes are a twin that can be drawn from, or errors.
#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/base/check.h"
#include "traces/twin/twin_yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto twin =
      moecast::ParseTwin("fuzz.yaml", std::string(reinterpret_cast<const char*>(data), size));
  if (twin.ok()) SIM_CHECK(moecast::CheckTwin(*twin).ok());
  if (!twin.ok()) SIM_CHECK(!twin.errors().empty());
  return 0;
}
