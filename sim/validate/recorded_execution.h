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

class RecordedExecution {
 public:
  /// Reads cases.csv, steps.csv and ops.csv of a folder that `moecast validate` wrote.
  /// ERRORS: unreadable; another header; a bad cell; each with file:line.
  static Result<RecordedExecution> Read(const std::filesystem::path& folder);

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
