// A vidur table, as tests/fuzz/imported_rows.h asks.
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/import/vidur.h"
#include "tests/fuzz/imported_rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast;
  fuzz::CheckImported(calibration::ImportVidur(
      std::string(reinterpret_cast<const char*>(data), size), "table.csv", fuzz::AnyTarget()));
  return 0;
}
