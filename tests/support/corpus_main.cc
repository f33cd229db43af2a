// Replays a stored corpus through a fuzz target where libFuzzer is not linked:
//   <target> CORPUS_FOLDER...
// Exit code 0 when every input returned; 1 when a folder is missing or empty or a file unreadable.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "sim/base/files.h"

// The contract of libFuzzer: a finding is a crash, not a returned value.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// The regular files of the folder, in name order so that a crash is found at the same place twice.
std::vector<std::filesystem::path> InputsOf(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> inputs;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    if (entry.is_regular_file()) inputs.push_back(entry.path());
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

bool Replay(const std::filesystem::path& path) {
  const auto bytes = moecast::ReadFile(path);
  if (!bytes.ok()) {
    std::fputs(moecast::ToString(bytes.errors()).c_str(), stderr);
    return false;
  }
  // A copy of exactly the input's size, so that AddressSanitizer sees a read past its end.
  const std::vector<uint8_t> exact(bytes->begin(), bytes->end());
  std::printf("%s (%zu bytes)\n", path.c_str(), exact.size());
  std::fflush(stdout);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool passed = argc > 1;
  if (!passed) std::fprintf(stderr, "usage: %s CORPUS_FOLDER...\n", argv[0]);
  for (int i = 1; i < argc; ++i) {
    const auto inputs = InputsOf(argv[i]);
    if (inputs.empty()) {
      std::fprintf(stderr, "%s: corpus folder missing or empty\n", argv[i]);
      passed = false;
    }
    for (const auto& input : inputs) passed = Replay(input) && passed;
    std::printf("%s: %zu inputs\n", argv[i], inputs.size());
  }
  return passed ? 0 : 1;
}
