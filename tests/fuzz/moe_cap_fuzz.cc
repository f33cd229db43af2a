// A MoE-CAP record, as tests/fuzz/imported_rows.h asks.
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/import/moe_cap.h"
#include "tests/fuzz/imported_rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast;
  fuzz::CheckImported(calibration::ImportMoeCap(
      std::string(reinterpret_cast<const char*>(data), size), "record.jsonl", fuzz::AnyTarget()));
  return 0;
}
