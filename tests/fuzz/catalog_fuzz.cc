// One file of the catalog replaced by the input: a scenario that uses it loads, or is refused with
// places; what loads reads back the same.
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "scenarios/scenario_codec.h"

namespace {

namespace fs = std::filesystem;

constexpr std::array kFiles{"quality/Qwen3-8B.yaml", "kv_schemes.yaml",
                            "formats.yaml",          "models/Qwen3-8B.yaml",
                            "gpus/A40.yaml",         "fabrics/NVLink3.yaml",
                            "changes/WINA-25.yaml",  "efficiencies/analytic-default.yaml"};

/// Links to every file of the shipped catalog, gone with the process.
class LinkedCatalog {
 public:
  LinkedCatalog()
      : folder_(fs::temp_directory_path() / ("moecast-catalog-fuzz-" + std::to_string(getpid()))) {
    const fs::path shipped = MOECAST_SOURCE "/scenarios/catalog";
    for (const auto& entry : fs::recursive_directory_iterator(shipped)) {
      const fs::path here = folder_ / entry.path().lexically_relative(shipped);
      fs::create_directories(here.parent_path());
      if (entry.is_regular_file()) fs::create_symlink(entry.path(), here);
    }
  }
  ~LinkedCatalog() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  LinkedCatalog(const LinkedCatalog&) = delete;
  LinkedCatalog& operator=(const LinkedCatalog&) = delete;

  [[nodiscard]] const fs::path& folder() const { return folder_; }
  /// Puts `text` in the place of one file until Restore.
  void Replace(const char* file, std::string_view text) const {
    fs::remove(folder_ / file);
    std::ofstream(folder_ / file, std::ios::binary) << text;
  }
  void Restore(const char* file) const {
    fs::remove(folder_ / file);
    fs::create_symlink(fs::path(MOECAST_SOURCE "/scenarios/catalog") / file, folder_ / file);
  }

 private:
  fs::path folder_;
};

constexpr std::string_view kScenario =
    "name: small\n"
    "model: Qwen3-8B\n"
    "cluster: {gpu: A40, fabric: NVLink3, parallelism: {tensor: 2}}\n"
    "kv: {scheme: kivi2}\n"
    "change: WINA-25\n"
    "workload:\n"
    "  synthetic:\n"
    "    arrivals: {poisson: {rate_per_s: 2}}\n"
    "    input: {fixed: {tokens: 100}}\n"
    "    output: {fixed: {tokens: 10}}\n"
    "  stop: {requests: 50}\n";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const LinkedCatalog catalog;
  // The first byte chooses the file; the rest is its text.
  const char* file = kFiles[data[0] % kFiles.size()];
  catalog.Replace(file, {reinterpret_cast<const char*>(data + 1), size - 1});
  const auto study = moecast::ParseStudy(kScenario, "fuzz.yaml", {}, catalog.folder());
  catalog.Restore(file);
  if (!study.ok()) {
    for (const moecast::Error& error : study.errors()) SIM_CHECK(!error.where.empty());
    return 0;
  }
  const auto again = moecast::ParseStudy(study->resolved_yaml, "again.yaml", {}, "no/catalog");
  SIM_CHECK(again.ok());
  SIM_CHECK(again->resolved_yaml == study->resolved_yaml);
  return 0;
}
