#include "traces/request_lines.h"

#include <cstring>
#include <span>
#include <utility>

namespace moecast {
namespace {

constexpr size_t kReadBytes = size_t{1} << 17;
constexpr size_t kBufferBytes = kMaxLineBytes + kReadBytes;

bool IsAscii(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  uint64_t seen = 0;
  size_t i = 0;
  for (; i + sizeof seen <= text.size(); i += sizeof seen) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof word);
    seen |= word;
  }
  for (; i < text.size(); ++i) seen |= static_cast<unsigned char>(text[i]);
  return (seen & kHighBits) == 0;
}

// Bytes of the UTF-8 sequence that starts `text`, 0 when it is none: overlong forms, surrogates and
// code points above U+10FFFF are none. [RFC 3629, section 4]
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4 || !continues(1)) return 0;
  if (first < 0xe0) return 2;
  const bool second_fits = (first != 0xe0 || byte(1) >= 0xa0) &&
                           (first != 0xed || byte(1) < 0xa0) &&
                           (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
  if (!second_fits || !continues(2)) return 0;
  if (first < 0xf0) return 3;
  return continues(3) ? 4 : 0;
}

// Offset of the first byte that is not UTF-8, or npos.
size_t FindNotUtf8(std::string_view text) {
  if (IsAscii(text)) return std::string_view::npos;
  for (size_t i = 0; i < text.size();) {
    const size_t length = SequenceLength(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string quoted = "'";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      quoted += c;
    } else {
      quoted += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xf]};
    }
  }
  return quoted + (text.size() > kShown ? "...'" : "'");
}

LineReader::LineReader(std::filesystem::path path, ByteStream bytes)
    : path_(std::move(path)),
      bytes_(std::move(bytes)),
      buffer_(std::make_unique_for_overwrite<char[]>(kBufferBytes)) {}

Result<LineReader> LineReader::Open(const std::filesystem::path& path) {
  SIM_TRY(auto bytes, ByteStream::Open(path));
  return LineReader(path, std::move(bytes));
}

std::string LineReader::where() const {
  return path_.string() + ":" + std::to_string(line_number_);
}

Error LineReader::LineError(std::string message) const {
  return {.message = std::move(message), .where = where()};
}

Error LineReader::FieldError(std::string_view field, std::string_view value,
                             std::string_view allowed) const {
  std::string message(field);
  message.append(" is ").append(Quoted(value)).append("; expected ").append(allowed);
  return LineError(std::move(message));
}

// Moves the unreturned bytes to the front and reads more behind them.
Result<size_t> LineReader::Refill() {
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  auto count = bytes_.Read(std::span(buffer_.get() + end_, kReadBytes));
  if (!count.ok()) return LineError(count.errors().front().message);
  end_ += *count;
  return count;
}

Result<bool> LineReader::NextRaw(std::string_view& line) {
  ++line_number_;
  size_t searched = 0;  // bytes after begin_ known to hold no LF
  while (true) {
    const char* const start = buffer_.get() + begin_;
    const auto* const stop =
        static_cast<const char*>(std::memchr(start + searched, '\n', end_ - begin_ - searched));
    if (stop != nullptr) {
      line = std::string_view(start, static_cast<size_t>(stop - start));
      begin_ += line.size() + 1;
      break;
    }
    searched = end_ - begin_;
    if (searched > kMaxLineBytes) {
      return LineError("line is longer than " + std::to_string(kMaxLineBytes) + " bytes");
    }
    SIM_TRY(const size_t count, Refill());
    if (count > 0) continue;
    if (searched == 0) return false;
    line = std::string_view(buffer_.get(), searched);
    begin_ = end_;
    break;
  }
  if (line_number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

Result<bool> LineReader::Next(std::string_view& line) {
  SIM_TRY(const bool more, NextRaw(line));
  if (!more) return false;
  if (line.empty()) {
    const Error blank = LineError("blank line between rows");
    while (true) {
      SIM_TRY(const bool another, NextRaw(line));
      if (!another) return false;
      if (!line.empty()) return blank;
    }
  }
  if (const size_t bad = FindNotUtf8(line); bad != std::string_view::npos) {
    return LineError("byte " + std::to_string(bad + 1) + " of the line, " +
                     Quoted(line.substr(bad, 1)) + ", is not UTF-8");
  }
  return true;
}

}  // namespace moecast
