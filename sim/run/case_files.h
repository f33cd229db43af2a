// Where the files of a study's cases lie below its result folder, and requests.csv, which is the
// one file written while a run goes because it can be larger than memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "scenarios/scenario.h"
#include "sim/base/files.h"
#include "sim/base/result.h"
#include "sim/metrics/records.h"

namespace moecast {

/// "<variant>@<load>" with everything but letters, digits, '.', '_' and '-' replaced by '_';
/// empty (files lie in the result folder itself) when the study has one case.
std::filesystem::path CaseFolder(const Study& study, size_t case_index);

/// "requests.csv", or "requests.r<replication>.csv" when the case has several replications.
std::string ReplicationFile(std::string_view stem, const Scenario& scenario, uint32_t replication);

/// Streams request rows to a file that appears on Commit. docs/outputs.md, "requests.csv".
class RequestRowsFile {
 public:
  static Result<RequestRowsFile> Create(const std::filesystem::path& path);
  /// A failed write is remembered and returned by Commit.
  void Add(std::span<const RequestRecord> rows);
  Status Commit();

 private:
  explicit RequestRowsFile(AtomicFile file);
  AtomicFile file_;
  std::string buffer_;  // reused per batch
};

}  // namespace moecast
