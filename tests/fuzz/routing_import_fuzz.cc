// The raw import: the input is a description, a zero byte, then the bytes of both arrays, whatever
// paths the description names. An import ends with a trace that reads back, or with errors.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "sim/base/check.h"
#include "tests/fuzz/request_input.h"
#include "traces/routing_import.h"
#include "traces/routing_reader.h"

namespace {

/// The trace that an import writes; gone at the end.
class Output {
 public:
  Output()
      : path_(std::filesystem::temp_directory_path() /
              ("moecast-import-fuzz-" + std::to_string(getpid()))) {}
  ~Output() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void ReadBack(const std::filesystem::path& path, const moecast::RoutingImportNotes& notes) {
  auto reader = moecast::RoutingReader::Open(path);
  SIM_CHECK(reader.ok());
  SIM_CHECK(reader->totals().unknown_rows == notes.unknown_rows);
  moecast::RoutingChunk chunk;
  int64_t tokens = 0;
  while (reader->Next(chunk).value()) tokens += chunk.tokens;
  SIM_CHECK(tokens == notes.tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t text = std::min(bytes.find('\0'), size);
  const size_t array = std::min(text + 1, size);
  const moecast::fuzz::MemoryFile description(data, text);
  const moecast::fuzz::MemoryFile values(data + array, size - array);
  auto import = moecast::LoadRoutingImport(description.path(), {});
  if (!import.ok()) return 0;
  import->ids.path = values.path();
  if (import->scores) import->scores->path = values.path();
  const Output output;
  const auto notes = moecast::ImportRouting(*import, output.path(), {});
  SIM_CHECK(notes.ok() == std::filesystem::exists(output.path()));
  if (notes.ok()) ReadBack(output.path(), *notes);
  return 0;
}
