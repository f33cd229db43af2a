// Any text read as a suite and as an environment: an error or rows.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "calibration/hygiene.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast::calibration;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(ParseEnvironment(text, "environment.yaml"));
  Measurements into;
  into.card = {.gpu = "fuzz", .hbm_bytes_per_s = 1e12, .bf16_flop_per_s = 1e15};
  if (ParseSuite(text, "fuzz.csv", into).ok()) static_cast<void>(Clean(into));
  return 0;
}
