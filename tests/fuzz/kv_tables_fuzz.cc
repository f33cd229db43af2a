// Any text read as rows of a KV suite and as the table of schemes: an error, or rows that are
// written and read back alike, and schemes the kernels store.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/harness/kv_measurement.h"
#include "kernels/harness/kv_schemes.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast::kernels;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto schemes = ParseKvSchemes(text, "fuzz.csv");
  if (schemes.ok()) {
    for (const NamedScheme& named : *schemes) SIM_CHECK(Fits(ForHeads(named.scheme, 128), 128));
  }
  const auto rows = ParseKvMeasurements(text, "fuzz.csv");
  if (!rows.ok()) return 0;
  const std::string written = ToCsv(*rows);
  const auto again = ParseKvMeasurements(written, "fuzz.csv");
  SIM_CHECK(again.ok());
  SIM_CHECK(ToCsv(*again) == written);
  return 0;
}
