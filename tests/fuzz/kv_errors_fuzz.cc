// A table of cache errors: every error names the file and the line.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scenarios/kv_errors.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto errors =
      moecast::KvErrors::Parse({reinterpret_cast<const char*>(data), size}, "fuzz.csv");
  if (errors.ok()) return 0;
  for (const moecast::Error& error : errors.errors()) {
    SIM_CHECK(error.where.starts_with("fuzz.csv:"));
  }
  return 0;
}
