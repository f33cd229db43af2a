// ResultFolder: files of a result appear in the user's folder all together, when every one of them
// is complete, or not at all.
#pragma once

#include <filesystem>
#include <string_view>

#include "sim/base/result.h"

namespace moecast {

/// Files are written below staging(), a hidden folder inside the target, so that publishing is a
/// rename on one file system. Without Publish the staging folder and every folder that Open created
/// are removed; on an interrupt the staging folder is (sim/base/temporaries.h); what a killed
/// process left, the next Open removes. One process per target at a time.
class ResultFolder {
 public:
  /// Creates the target when absent. ERRORS: not a folder, not writable, or not empty and not an
  /// earlier result of moecast (one that has a scenario.yaml starting with kMarker).
  static Result<ResultFolder> Open(const std::filesystem::path& target);
  ResultFolder(ResultFolder&& other) noexcept;
  ResultFolder& operator=(ResultFolder&&) = delete;
  ResultFolder(const ResultFolder&) = delete;
  ResultFolder& operator=(const ResultFolder&) = delete;
  ~ResultFolder();

  [[nodiscard]] const std::filesystem::path& staging() const { return staging_; }
  /// Replaces an earlier result's files by the staged ones. Files moecast did not write stay.
  Status Publish();

  /// First line of the scenario.yaml of every result.
  static constexpr std::string_view kMarker = "# moecast result";

 private:
  ResultFolder() = default;
  std::filesystem::path target_;
  std::filesystem::path staging_;
  std::filesystem::path created_;  // topmost folder that Open created; empty: none
};

}  // namespace moecast
