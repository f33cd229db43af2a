// LineReader: the lines of a text file, one at a time, with their numbers for messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "sim/base/result.h"
#include "traces/request_bytes.h"

namespace moecast {

/// The longest line: a Mooncake line of 10^7 tokens needs a tenth of it.
inline constexpr size_t kMaxLineBytes = size_t{1} << 20;

class LineReader {
 public:
  /// ERRORS: as ByteStream::Open.
  static Result<LineReader> Open(const std::filesystem::path& path);

  /// The next line without its LF or CRLF, valid until the next call; false at the end. A byte
  /// order mark and blank lines after the last row are passed over; a last line without LF is a
  /// line. ERRORS: as ByteStream::Read; a line above kMaxLineBytes; bytes that are not UTF-8; a
  /// blank line between rows.
  Result<bool> Next(std::string_view& line);
  /// "path:line" of the line last returned, or of the one that failed.
  [[nodiscard]] std::string where() const;
  /// An error at where(): `field` has `value`, which is not what is `allowed`.
  [[nodiscard]] Error FieldError(std::string_view field, std::string_view value,
                                 std::string_view allowed) const;
  /// An error at where() in free words.
  [[nodiscard]] Error LineError(std::string message) const;

 private:
  LineReader(std::filesystem::path path, ByteStream bytes);
  Result<bool> NextRaw(std::string_view& line);
  Result<size_t> Refill();

  std::filesystem::path path_;
  ByteStream bytes_;
  std::unique_ptr<char[]> buffer_;  // [begin_, end_) is read and not yet returned
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t line_number_ = 0;
};

/// `text` in single quotes, cut to a readable length, bytes that do not print as \xHH.
std::string Quoted(std::string_view text);

}  // namespace moecast
