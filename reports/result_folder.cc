#include "reports/result_folder.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "sim/base/files.h"
#include "sim/base/temporaries.h"

namespace moecast {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStagingPrefix = ".moecast-partial-";

Error Failure(std::string_view what, const std::error_code& code, const fs::path& path) {
  return {std::string(what) + ": " + code.message(), path.string()};
}

/// Names below the folder; hidden entries are not counted.
Result<std::vector<fs::path>> VisibleEntries(const fs::path& folder) {
  std::error_code code;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (it->path().filename().string().front() != '.') entries.push_back(it->path());
  }
  if (code) return Failure("cannot list the folder", code, folder);
  return entries;
}

bool HasMarker(const fs::path& folder) {
  const Result<std::string> text = ReadFile(folder / "scenario.yaml");
  return text.ok() && text->starts_with(ResultFolder::kMarker);
}

/// True for the files that a result holds, in its own folder or in a case's.
bool IsResultFile(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == "scenario.yaml" || name == "study.json" || name == "summary.json") return true;
  const bool series = name.starts_with("requests") || name.starts_with("timeseries");
  return file.extension() == ".csv" && (series || name == "experts.csv" || name == "table.csv");
}

/// Removes an earlier result's files, case folders included.
Status RemoveEarlierResult(const fs::path& folder, bool is_case) {
  SIM_TRY(const std::vector<fs::path> entries, VisibleEntries(folder));
  std::error_code code;
  for (const fs::path& entry : entries) {
    const bool is_folder = fs::is_directory(entry, code) && !code;
    if (is_folder && !is_case && fs::exists(entry / "summary.json", code)) {
      SIM_RETURN_IF_ERROR(RemoveEarlierResult(entry, true));
      std::error_code not_empty;
      fs::remove(entry, not_empty);  // stays when the user keeps files of their own there
    } else if (!is_folder && IsResultFile(entry)) {
      fs::remove(entry, code);
      if (code) return Failure("cannot replace the earlier result", code, entry);
    }
  }
  return Ok();
}

/// The topmost of `path` and its parents that does not exist; empty when `path` exists.
fs::path TopmostMissing(const fs::path& path) {
  fs::path missing;
  std::error_code code;
  for (fs::path p = path; !p.empty() && !fs::exists(p, code); p = p.parent_path()) {
    missing = p;
    if (!p.has_relative_path()) break;
  }
  return missing;
}

/// Removes the staging folders of runs that were killed before they could.
void RemoveAbandoned(const fs::path& folder) {
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(kStagingPrefix)) continue;
    pid_t owner = 0;
    const char* end_of_name = name.data() + name.size();
    const auto [rest, problem] =
        std::from_chars(name.data() + kStagingPrefix.size(), end_of_name, owner);
    if (problem != std::errc() || rest != end_of_name || owner <= 0) continue;
    if (kill(owner, 0) == 0 || errno != ESRCH) continue;
    std::error_code ignored;
    fs::remove_all(it->path(), ignored);
  }
}

/// Moves everything below `from` to the same place below `to`. Both are on one file system.
Status MoveTree(const fs::path& from, const fs::path& to) {
  SIM_TRY(const std::vector<fs::path> entries, VisibleEntries(from));
  for (const fs::path& entry : entries) {
    const fs::path target = to / entry.filename();
    std::error_code code;
    if (fs::is_directory(entry, code)) {
      fs::create_directory(target, code);
      if (code) return Failure("cannot create the folder", code, target);
      SIM_RETURN_IF_ERROR(MoveTree(entry, target));
    } else {
      fs::rename(entry, target, code);
      if (code) return Failure("cannot move the file into place", code, target);
    }
  }
  return Ok();
}

}  // namespace

Result<ResultFolder> ResultFolder::Open(const fs::path& target) {
  ResultFolder folder;
  std::error_code code;
  folder.target_ = fs::absolute(target, code).lexically_normal();
  if (!folder.target_.has_filename()) folder.target_ = folder.target_.parent_path();
  const fs::path missing = TopmostMissing(folder.target_);
  fs::create_directories(folder.target_, code);
  if (code) return Failure("cannot create the result folder", code, target);
  folder.created_ = missing;
  SIM_TRY(const std::vector<fs::path> entries, VisibleEntries(folder.target_));
  if (!entries.empty() && !HasMarker(folder.target_)) {
    return Error{
        "the result folder is not empty and holds no earlier result of moecast; name a "
        "new or an empty folder",
        target.string()};
  }
  RemoveAbandoned(folder.target_);
  const fs::path staging =
      folder.target_ / (std::string(kStagingPrefix) + std::to_string(getpid()));
  RememberTemporary(staging);
  fs::create_directory(staging, code);
  if (code) {
    ForgetTemporary(staging);
    return Failure("cannot write to the result folder", code, target);
  }
  folder.staging_ = staging;
  return folder;
}

ResultFolder::ResultFolder(ResultFolder&& other) noexcept
    : target_(std::move(other.target_)),
      staging_(std::exchange(other.staging_, {})),
      created_(std::exchange(other.created_, {})) {}

ResultFolder::~ResultFolder() {
  std::error_code ignored;
  if (!staging_.empty()) {
    fs::remove_all(staging_, ignored);
    ForgetTemporary(staging_);
  }
  if (created_.empty()) return;
  // Only empty folders go: someone else may have put a file there meanwhile.
  for (fs::path p = target_; fs::remove(p, ignored) && p != created_; p = p.parent_path()) continue;
}

Status ResultFolder::Publish() {
  const auto hold = HoldInterrupts();
  SIM_RETURN_IF_ERROR(RemoveEarlierResult(target_, false));
  SIM_RETURN_IF_ERROR(MoveTree(staging_, target_));
  created_.clear();
  return Ok();
}

}  // namespace moecast
