// A table of expert counts: what is read has the shape it states, and every error has a place.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/request_input.h"
#include "traces/count_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moecast::fuzz::MemoryFile file(data, size);
  const auto table = moecast::ReadCountTable(file.path());
  if (!table.ok()) {
    for (const moecast::Error& error : table.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  SIM_CHECK(!table->passes.empty());
  const size_t cells = table->shape.moe_layers.size() * static_cast<size_t>(table->shape.experts);
  for (const moecast::ExpertCounts& pass : table->passes) SIM_CHECK(pass.counts.size() == cells);
  return 0;
}
