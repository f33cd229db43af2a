// Placement files: one that is read can be written in every format and read again as the same.
#include <cstdint>

#include "sim/base/check.h"
#include "tests/fuzz/request_input.h"
#include "traces/placement.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moecast::fuzz::MemoryFile file(data, size);
  auto placement = moecast::ReadPlacement(file.path());
  if (!placement.ok()) return 0;
  const auto text = moecast::RenderPlacement(*placement, moecast::PlacementFormat::kSglang);
  SIM_CHECK(text.ok());
  const moecast::fuzz::MemoryFile again(reinterpret_cast<const uint8_t*>(text->data()),
                                        text->size());
  const auto read = moecast::ReadPlacement(again.path());
  SIM_CHECK(read.ok() && read->physical_to_logical == placement->physical_to_logical);
  return 0;
}
