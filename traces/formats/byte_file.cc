#include "traces/formats/byte_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace moecast {
namespace {

std::string SystemReason(int error) { return std::generic_category().message(error); }

}  // namespace

Result<ByteFile> ByteFile::Open(const std::filesystem::path& path) {
  ByteFile file;
  file.name_ = path.string();
  file.descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.descriptor_ < 0) return file.Fail("cannot be opened: " + SystemReason(errno));
  struct stat status {};
  if (fstat(file.descriptor_, &status) != 0) {
    return file.Fail("cannot be read: " + SystemReason(errno));
  }
  if (!S_ISREG(status.st_mode)) return file.Fail("is not a regular file");
  file.size_ = static_cast<uint64_t>(status.st_size);
  // A wish: captures are read from front to back, so the system may read ahead.
  static_cast<void>(posix_fadvise(file.descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL));
  return file;
}

ByteFile ByteFile::OfBytes(std::string bytes, std::string name) {
  ByteFile file;
  file.name_ = std::move(name);
  file.size_ = bytes.size();
  file.bytes_ = std::move(bytes);
  return file;
}

ByteFile::ByteFile(ByteFile&& other) noexcept
    : name_(std::move(other.name_)),
      bytes_(std::move(other.bytes_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

ByteFile& ByteFile::operator=(ByteFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(bytes_, other.bytes_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

ByteFile::~ByteFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

Error ByteFile::At(uint64_t offset, std::string message) const {
  return {std::move(message), name_ + ": byte " + std::to_string(offset)};
}

Error ByteFile::Fail(std::string message) const { return {std::move(message), name_}; }

Status ByteFile::CheckRange(uint64_t offset, uint64_t count) const {
  if (offset <= size_ && count <= size_ - offset) return Ok();
  return At(offset, "truncated: " + std::to_string(count) +
                        " bytes are needed here, the file has " + std::to_string(size_) +
                        " in all");
}

Status ByteFile::Read(uint64_t offset, std::span<char> room) const {
  SIM_RETURN_IF_ERROR(CheckRange(offset, room.size()));
  if (descriptor_ < 0) {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), room.size(), room.begin());
    return Ok();
  }
  size_t done = 0;
  while (done < room.size()) {
    const ssize_t got = pread(descriptor_, room.data() + done, room.size() - done,
                              static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return At(offset + done, "cannot be read: " + SystemReason(errno));
    if (got == 0) return At(offset + done, "the file became shorter while it was read");
    done += static_cast<size_t>(got);
  }
  return Ok();
}

Result<std::string> ByteFile::Read(uint64_t offset, uint64_t count) const {
  SIM_RETURN_IF_ERROR(CheckRange(offset, count));
  std::string bytes(count, '\0');
  SIM_RETURN_IF_ERROR(Read(offset, std::span(bytes)));
  return bytes;
}

}  // namespace moecast
