// ByteFile: the bytes of a file, or of memory, read at any offset. Every reader of a foreign format
// stands on it, so that each of its errors can name the byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "sim/base/result.h"

namespace moecast {

class ByteFile {
 public:
  /// ERRORS: missing, a directory, unreadable (with the operating system's reason).
  static Result<ByteFile> Open(const std::filesystem::path& path);
  /// `bytes` as if they were a file; `name` stands for the path in errors.
  static ByteFile OfBytes(std::string bytes, std::string name);
  ByteFile(ByteFile&& other) noexcept;
  ByteFile& operator=(ByteFile&& other) noexcept;
  ByteFile(const ByteFile&) = delete;
  ByteFile& operator=(const ByteFile&) = delete;
  ~ByteFile();

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  /// Fills `room` with the bytes from `offset`. ERRORS: they are not all there, a failed read.
  Status Read(uint64_t offset, std::span<char> room) const;
  /// The same into a string of `count` bytes. The range is checked before memory is taken.
  Result<std::string> Read(uint64_t offset, uint64_t count) const;
  /// An error at a byte of this file.
  [[nodiscard]] Error At(uint64_t offset, std::string message) const;
  /// An error about the file as a whole.
  [[nodiscard]] Error Fail(std::string message) const;

 private:
  ByteFile() = default;
  [[nodiscard]] Status CheckRange(uint64_t offset, uint64_t count) const;

  std::string name_;
  std::string bytes_;    // when descriptor_ < 0
  int descriptor_ = -1;  // owned
  uint64_t size_ = 0;
};

}  // namespace moecast
