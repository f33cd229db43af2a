// ZipArchive: the members of a ZIP file as NumPy (.npz) and PyTorch (.pt) write them, stored or
// deflated, by the central directory. Not read: encryption, several disks, other compressions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/result.h"
#include "traces/formats/byte_file.h"

namespace moecast {

struct ZipMember {
  std::string name;
  uint64_t size = 0;         // of the content
  uint64_t stored_size = 0;  // of its bytes in the file
  uint64_t offset = 0;       // of those bytes
  uint32_t crc = 0;
  bool deflated = false;
};

class ZipArchive {
 public:
  /// Reads the directory; every member's bytes are inside the file. ERRORS: no directory
  /// (truncated), sizes and offsets that lie outside the file, names twice, what is not read.
  /// REQUIRES: `file` outlives the archive.
  static Result<ZipArchive> Open(const ByteFile& file);

  /// In the order of the directory.
  [[nodiscard]] const std::vector<ZipMember>& members() const { return members_; }
  /// Null when there is none of that name.
  [[nodiscard]] const ZipMember* Find(std::string_view name) const;
  [[nodiscard]] const ByteFile& file() const { return *file_; }
  /// The whole content, CRC checked. ERRORS: those of ZipStream; more than `most` bytes.
  Result<std::string> Read(const ZipMember& member, uint64_t most) const;

 private:
  explicit ZipArchive(const ByteFile& file) : file_(&file) {}

  const ByteFile* file_;
  std::vector<ZipMember> members_;
};

/// One member from front to back in constant memory.
class ZipStream {
 public:
  /// REQUIRES: both outlive the stream.
  ZipStream(const ByteFile& file, const ZipMember& member);
  ZipStream(ZipStream&&) noexcept;
  ZipStream& operator=(ZipStream&&) noexcept;
  ~ZipStream();

  /// Fills `room`. ERRORS: fewer bytes are left, damaged compression, and with the last byte a
  /// CRC-32 that does not match; with the byte of the file.
  Status Read(std::span<char> room);
  [[nodiscard]] uint64_t left() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moecast
