// ByteStream: the bytes of a file from front to back, decompressed on the way when they are
// Zstandard. Memory is constant in the file's size.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "sim/base/result.h"

namespace moecast {

class ByteStream {
 public:
  /// Decompresses a file that is named *.zst or begins with a Zstandard frame.
  /// ERRORS: missing, a directory, unreadable (with the operating system's reason).
  static Result<ByteStream> Open(const std::filesystem::path& path);
  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;
  ~ByteStream();

  /// Puts the next bytes at the front of `room` and returns how many; 0 only at the end.
  /// ERRORS: a failed read, damaged compressed data, an end inside a compressed frame.
  /// REQUIRES: `room` is not empty.
  Result<size_t> Read(std::span<char> room);

 private:
  struct State;
  explicit ByteStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
