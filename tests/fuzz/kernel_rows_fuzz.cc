// Any text read as rows of a kernel suite: an error, or rows that are written and read back alike.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/harness/measurement.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast::kernels;
  const auto rows = ParseMeasurements({reinterpret_cast<const char*>(data), size}, "fuzz.csv");
  if (!rows.ok()) return 0;
  const std::string text = ToCsv(*rows);
  const auto again = ParseMeasurements(text, "fuzz.csv");
  SIM_CHECK(again.ok());
  SIM_CHECK(ToCsv(*again) == text);
  return 0;
}
