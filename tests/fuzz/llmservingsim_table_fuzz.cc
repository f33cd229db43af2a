// An LLMServingSim table, as tests/fuzz/imported_rows.h asks.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "calibration/import/llmservingsim.h"
#include "tests/fuzz/imported_rows.h"
#include "tests/sim/model/model_builders.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast;
  // The first byte chooses the table; the rest is the file.
  constexpr std::array kStems{"moe", "dense", "per_sequence", "attention"};
  if (size == 0) return 0;
  fuzz::CheckImported(calibration::ImportLlmServingSimTable(
      std::string(reinterpret_cast<const char*>(data + 1), size - 1), "table.csv",
      kStems[data[0] % kStems.size()], 2, test::Qwen3_235B(), fuzz::AnyTarget()));
  return 0;
}
