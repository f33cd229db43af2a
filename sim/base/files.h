// Files: whole reads, content hashes, and writes that are complete or absent.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "sim/base/result.h"

namespace moecast {

/// The file's bytes. ERRORS: missing, a directory, unreadable (with the operating system's reason).
Result<std::string> ReadFile(const std::filesystem::path& path);

/// Lower-case hexadecimal SHA-256 of the file, for provenance. Streams; memory is constant.
Result<std::string> Sha256OfFile(const std::filesystem::path& path);
std::string Sha256(std::string_view bytes);

/// Writes to `path`.tmp-<pid>-<n> beside the target and renames on Commit. Without Commit the
/// temporary is removed and the target is untouched. A full disk surfaces as an error at Write or
/// Commit, never as a short file.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Buffered; the first failure is remembered and returned by Commit as well.
  Status Write(std::string_view bytes);
  /// Flushes, syncs, renames. ERRORS: the first failed write, or the rename's reason.
  Status Commit();

 private:
  AtomicFile() = default;
  std::FILE* file_ = nullptr;
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int first_errno_ = 0;
};

/// Create, Write, Commit in one call.
Status WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace moecast
