// Capture importers: the first byte says what the user told about the model, the rest is the file.
// An import ends with a trace that reads back, with a table, or with errors and no file.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "sim/base/check.h"
#include "tests/fuzz/request_input.h"
#include "traces/import/capture.h"
#include "traces/routing_reader.h"

namespace {

using moecast::CaptureOptions;

CaptureOptions OptionsOf(uint8_t choice) {
  CaptureOptions options;
  if ((choice & 1) != 0) {
    options.model = {.name = "toy", .experts = 8, .top_k = 2, .layers = 4, .moe_layers = {1, 2, 3}};
  }
  options.model.scoring = static_cast<moecast::GateScoring>(choice >> 1 & 3);
  if ((choice & 8) != 0) options.phase = moecast::RoutingPhase::kDecode;
  if ((choice & 16) != 0) options.first_token = 1;
  if ((choice & 32) != 0) options.placement = {.physical_to_logical = {{0, 1, 2, 3, 4, 5, 6, 7}}};
  return options;
}

void ReadBack(const std::filesystem::path& path, const moecast::CaptureReport& report) {
  if (report.level != moecast::RoutingLevel::kPerToken) return;
  auto reader = moecast::RoutingReader::Open(path);
  SIM_CHECK(reader.ok());
  SIM_CHECK(reader->totals().unknown_rows == report.unknown_rows);
  moecast::RoutingChunk chunk;
  int64_t tokens = 0;
  while (reader->Next(chunk).value()) tokens += chunk.tokens;
  SIM_CHECK(tokens == report.prefill_tokens + report.decode_tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const moecast::fuzz::MemoryFile file(data + 1, size - 1);
  const std::filesystem::path out =
      std::filesystem::temp_directory_path() / ("moecast-capture-fuzz-" + std::to_string(getpid()));
  const auto report = moecast::ImportCapture({file.path()}, OptionsOf(data[0]), out);
  SIM_CHECK(report.ok() == std::filesystem::exists(out));
  if (report.ok()) {
    ReadBack(out, *report);
  } else {
    SIM_CHECK(!report.errors().empty() && !report.errors()[0].message.empty());
  }
  std::error_code ignored;
  std::filesystem::remove(out, ignored);
  return 0;
}
