// The tables of shapes and datasheet peaks that kernels are measured with, and of cache errors:
// every error has a place, and what is accepted is usable.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/harness/kv_accuracy_table.h"
#include "kernels/harness/reference_data.h"
#include "sim/base/check.h"
#include "tests/fuzz/request_input.h"

namespace {

template <class T>
void CheckPlaces(const moecast::Result<T>& result) {
  if (result.ok()) return;
  for (const moecast::Error& error : result.errors()) SIM_CHECK(!error.where.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moecast::kernels;
  const moecast::fuzz::MemoryFile file(data, size);
  const auto shapes = ReadModelShapes(file.path());
  CheckPlaces(shapes);
  if (shapes.ok()) {
    for (const ModelShape& model : *shapes) {
      SIM_CHECK(model.shape.experts > 0 && model.shape.hidden > 0);
    }
  }
  CheckPlaces(ReadAttentionShapes(file.path()));
  CheckPlaces(ReadProjections(file.path()));
  CheckPlaces(ReadCardPeak(file.path(), "NVIDIA H200"));
  const auto rows = ParseKvAccuracy({reinterpret_cast<const char*>(data), size}, "fuzz.csv");
  CheckPlaces(rows);
  if (rows.ok()) SIM_CHECK(ParseKvAccuracy(ToCsv(*rows), "again.csv").ok());
  return 0;
}
