// Three files of any bytes, a NUL between them, are a recorded execution or an error that names its
// place; so is asking it for a step.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sim/base/check.h"
#include "sim/validate/recorded_execution.h"

namespace {

std::string TakeFile(std::string_view& bytes) {
  const size_t end = std::min(bytes.find('\0'), bytes.size());
  std::string file(bytes.substr(0, end));
  bytes.remove_prefix(std::min(end + 1, bytes.size()));
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  moecast::RecordedFiles files;
  for (std::string* file : {&files.cases, &files.steps, &files.ops}) *file = TakeFile(bytes);
  const auto recorded = moecast::RecordedExecution::Parse(files, "record");
  if (!recorded.ok()) {
    SIM_CHECK(recorded.errors().front().where.starts_with("record/"));
    return 0;
  }
  const auto step = recorded->Open()({}).value().run({});
  if (!step.ok()) SIM_CHECK(step.errors().front().where.starts_with("record/steps.csv:"));
  return 0;
}
