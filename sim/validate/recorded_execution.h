// RecordedExecution: what an earlier `moecast validate` executed, in the place of a GPU: every step
// takes what it took then, so that other prices can be held against the same execution.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "sim/validate/execute_study.h"

namespace moecast {

/// Files that `moecast validate` wrote (docs/validation.md).
struct RecordedFiles {
  std::string cases{};  // cases.csv
  std::string steps{};  // steps.csv
  std::string ops{};    // ops.csv
};

class RecordedExecution {
 public:
  /// ERRORS: a file of `folder` that cannot be read; those of Parse.
  static Result<RecordedExecution> Read(const std::filesystem::path& folder);
  /// `folder` goes into messages. ERRORS: another header, a bad cell, an op of no step; each with
  /// file:line.
  static Result<RecordedExecution> Parse(const RecordedFiles& files,
                                         const std::filesystem::path& folder);

  /// Executors that answer with the recorded steps one after another, whichever was opened for
  /// which. They live no longer than this object. ERRORS of their steps, with file:line: a step
  /// whose work is not the recorded one's, or one behind the last.
  [[nodiscard]] OpenExecutor Open() const;
  /// ERRORS: the first step that nobody asked for.
  [[nodiscard]] Status CheckUsedUp() const;
  /// Where the time of executing went then.
  [[nodiscard]] const std::vector<CaseSeconds>& times() const;

 private:
  struct Record;
  explicit RecordedExecution(std::shared_ptr<Record> record) : record_(std::move(record)) {}
  std::shared_ptr<Record> record_;
};

}  // namespace moecast
