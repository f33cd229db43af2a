// An aiconfigurator silicon table: what is read is usable, every error has a place, nothing
// crashes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/serving/silicon_table.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto points = moecast::serving::ParseSiliconTable(
      std::string(reinterpret_cast<const char*>(data), size), "points");
  if (!points.ok()) {
    for (const moecast::Error& error : points.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  for (const auto& point : *points) {
    SIM_CHECK(point.point.concurrency >= 1 && point.point.input_tokens > 0 &&
              point.point.output_tokens > 0);
    SIM_CHECK(point.point.observations() >= 1);
  }
  return 0;
}
