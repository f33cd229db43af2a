// The description of a synthetic routing trace, and a catalog model as captures are read against:
// every error has a place, and what is accepted is a header that traces accept.
#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/request_input.h"
#include "traces/import/capture_options.h"
#include "traces/routing_codec.h"
#include "traces/routing_synthesis_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moecast::fuzz::MemoryFile file(data, size);
  const auto trace = moecast::LoadSyntheticTrace(file.path());
  if (trace.ok()) {
    SIM_CHECK(moecast::CheckHeader(trace->header).ok());
  } else {
    for (const moecast::Error& error : trace.errors()) SIM_CHECK(!error.where.empty());
  }
  const auto model =
      moecast::ReadCaptureModel("model", std::string(reinterpret_cast<const char*>(data), size));
  if (model.ok()) {
    SIM_CHECK(model->top_k >= 1 && model->top_k <= model->experts);
    SIM_CHECK(!model->moe_layers.empty() && model->moe_layers.back() < model->layers);
  } else {
    for (const moecast::Error& error : model.errors()) SIM_CHECK(!error.where.empty());
  }
  return 0;
}
