// Similarity and sensitivity tables are refused with file and line or hold what they say.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scenarios/sensitivity_file.h"
#include "scenarios/similarity_file.h"
#include "sim/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr int32_t kLayers[] = {1, 3};
  const auto pairs = ParseSimilarity(text, "t.csv", {.moe_layers = kLayers, .experts = 4});
  if (pairs.ok()) {
    const ExpertSimilarity table(2, 4, *pairs, 0);
    for (int64_t layer = 0; layer < 2; ++layer) {
      for (int64_t expert = 0; expert < 4; ++expert) {
        for (const uint16_t to : table.Replacements(layer, expert)) SIM_CHECK(to < 4);
      }
    }
  }
  const auto losses = ParseSensitivity(text, "t.csv", kLayers, 2);
  if (losses.ok()) SIM_CHECK(losses->size() == 2 && losses->front().size() == 2);
  return 0;
}
