#include "sim/base/files.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

#include "sim/base/temporaries.h"

namespace moecast {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 16;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using OpenFile = std::unique_ptr<std::FILE, CloseFile>;

Error OsError(const std::filesystem::path& path, std::string_view failed_action, int code) {
  return {.message = std::string(failed_action) + ": " + std::generic_category().message(code),
          .where = path.string()};
}

void RemoveTemporary(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  ForgetTemporary(path);
}

// Calls consume(bytes) for each chunk of the file, in order.
template <class Consume>
Status ForEachChunk(const std::filesystem::path& path, Consume consume) {
  const OpenFile file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return OsError(path, "cannot open for reading", errno);
  std::array<char, kChunkBytes> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled
  while (true) {
    const size_t size = std::fread(chunk.data(), 1, chunk.size(), file.get());
    if (size > 0) consume(std::string_view(chunk.data(), size));
    if (size < chunk.size()) break;
  }
  if (std::ferror(file.get()) != 0) return OsError(path, "cannot read", errno);
  return Ok();
}

class Sha256Digest {
 public:
  Sha256Digest() : context_(EVP_MD_CTX_new()) {
    SIM_CHECK(context_ != nullptr);
    SIM_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void Update(std::string_view bytes) {
    SIM_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string FinishAsHex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    SIM_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += "0123456789abcdef"[digest[i] >> 4];
      text += "0123456789abcdef"[digest[i] & 0xf];
    }
    return text;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& path) {
  std::string bytes;
  std::error_code unknown_size;
  const auto size = std::filesystem::file_size(path, unknown_size);
  if (!unknown_size) bytes.reserve(size);
  SIM_RETURN_IF_ERROR(ForEachChunk(path, [&](std::string_view chunk) { bytes += chunk; }));
  return bytes;
}

Result<std::string> Sha256OfFile(const std::filesystem::path& path) {
  Sha256Digest digest;
  SIM_RETURN_IF_ERROR(ForEachChunk(path, [&](std::string_view chunk) { digest.Update(chunk); }));
  return digest.FinishAsHex();
}

std::string Sha256(std::string_view bytes) {
  Sha256Digest digest;
  digest.Update(bytes);
  return digest.FinishAsHex();
}

Result<AtomicFile> AtomicFile::Create(const std::filesystem::path& path) {
  AtomicFile file;
  file.target_ = path;
  std::error_code unknown;
  const auto status = std::filesystem::status(path, unknown);
  if (std::filesystem::is_directory(status)) return OsError(path, "cannot write", EISDIR);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    // A rename would put a file in the place of a device or a pipe.
    return Error{.message = "cannot write: is no ordinary file", .where = path.string()};
  }
  const std::string prefix = path.string() + ".tmp-" + std::to_string(getpid()) + '-';
  // "x" fails on a name in use, which tells writers of one target on several threads apart.
  for (int n = 0; file.file_ == nullptr; ++n) {
    file.temporary_ = prefix + std::to_string(n);
    RememberTemporary(file.temporary_);
    file.file_ = std::fopen(file.temporary_.c_str(), "wbx");
    const int code = errno;
    if (file.file_ == nullptr) ForgetTemporary(file.temporary_);
    if (file.file_ == nullptr && code != EEXIST) return OsError(path, "cannot create", code);
  }
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : file_(std::exchange(other.file_, nullptr)),
      target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      first_errno_(other.first_errno_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(first_errno_, other.first_errno_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  RemoveTemporary(temporary_);
}

Status AtomicFile::Write(std::string_view bytes) {
  SIM_CHECK(file_ != nullptr);
  const size_t written = std::fwrite(bytes.data(), 1, bytes.size(), file_);
  if (written < bytes.size() && first_errno_ == 0) first_errno_ = errno;
  if (first_errno_ != 0) return OsError(target_, "cannot write", first_errno_);
  return Ok();
}

Status AtomicFile::Commit() {
  SIM_CHECK(file_ != nullptr);
  const auto remember = [this](bool succeeded) {
    if (!succeeded && first_errno_ == 0) first_errno_ = errno;
  };
  remember(std::fflush(file_) == 0);
  if (first_errno_ == 0) remember(fsync(fileno(file_)) == 0);
  remember(std::fclose(std::exchange(file_, nullptr)) == 0);
  if (first_errno_ == 0) remember(std::rename(temporary_.c_str(), target_.c_str()) == 0);
  if (first_errno_ == 0) {
    ForgetTemporary(temporary_);
    return Ok();
  }
  RemoveTemporary(temporary_);
  return OsError(target_, "cannot write", first_errno_);
}

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes) {
  SIM_TRY(AtomicFile file, AtomicFile::Create(path));
  SIM_RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

}  // namespace moecast
