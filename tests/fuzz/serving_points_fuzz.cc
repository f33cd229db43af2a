// A file of measured serving points: what is read is usable, every error has a place, nothing
// crashes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/serving/serving_point.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto points = moecast::serving::ParseServingPoints(
      std::string(reinterpret_cast<const char*>(data), size), "points");
  if (!points.ok()) {
    for (const moecast::Error& error : points.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  for (const auto& point : *points) {
    SIM_CHECK(point.concurrency >= 1 && point.input_tokens > 0 && point.output_tokens > 0);
    SIM_CHECK(point.observations() >= 1);
  }
  return 0;
}
