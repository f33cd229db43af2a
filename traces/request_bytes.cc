#include "traces/request_bytes.h"

#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moecast {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeDecoder {
  void operator()(ZSTD_DStream* decoder) const { ZSTD_freeDStream(decoder); }
};

std::string SystemReason(int error) { return std::generic_category().message(error); }

}  // namespace

struct ByteStream::State {
  std::filesystem::path path;
  std::unique_ptr<std::FILE, CloseFile> file;
  std::unique_ptr<ZSTD_DStream, FreeDecoder> decoder;  // null: the bytes are not compressed
  std::vector<char> packed;                            // compressed bytes read ahead
  ZSTD_inBuffer unread{};                              // the part of `packed` not yet decoded
  bool inside_frame = false;

  [[nodiscard]] Error Fail(std::string message) const {
    return {.message = std::move(message), .where = path.string()};
  }
  Result<size_t> ReadFile(std::span<char> room);
  Result<size_t> ReadFrames(std::span<char> room);
  Status BeginDecoding();
};

Result<size_t> ByteStream::State::ReadFile(std::span<char> room) {
  errno = 0;
  const size_t count = std::fread(room.data(), 1, room.size(), file.get());
  if (count == 0 && std::ferror(file.get()) != 0) {
    return Fail("cannot be read: " + SystemReason(errno));
  }
  return count;
}

// Reads the first bytes, so that a compressed file is known by its content.
Status ByteStream::State::BeginDecoding() {
  packed.resize(ZSTD_DStreamInSize());
  SIM_TRY(const size_t count, ReadFile(packed));
  unread = {.src = packed.data(), .size = count, .pos = 0};
  const bool compressed = path.extension() == ".zst" ||
                          ZSTD_getFrameContentSize(packed.data(), count) != ZSTD_CONTENTSIZE_ERROR;
  if (compressed) decoder.reset(ZSTD_createDStream());
  return Ok();
}

Result<size_t> ByteStream::State::ReadFrames(std::span<char> room) {
  ZSTD_outBuffer out{.dst = room.data(), .size = room.size(), .pos = 0};
  while (out.pos == 0) {
    if (unread.pos == unread.size) {
      SIM_TRY(const size_t count, ReadFile(packed));
      unread = {.src = packed.data(), .size = count, .pos = 0};
      if (count == 0 && !inside_frame) return size_t{0};
    }
    const bool at_end = unread.size == 0;
    const size_t hint = ZSTD_decompressStream(decoder.get(), &out, &unread);
    if (ZSTD_isError(hint) != 0) {
      return Fail("Zstandard data is damaged: " + std::string(ZSTD_getErrorName(hint)));
    }
    inside_frame = hint != 0;
    if (at_end && inside_frame && out.pos == 0) {
      return Fail("Zstandard data is truncated: the file ends inside a frame");
    }
  }
  return out.pos;
}

ByteStream::ByteStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;
ByteStream::~ByteStream() = default;

Result<ByteStream> ByteStream::Open(const std::filesystem::path& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->file.reset(std::fopen(path.c_str(), "rb"));
  if (state->file == nullptr) return state->Fail("cannot be opened: " + SystemReason(errno));
  std::setvbuf(state->file.get(), nullptr, _IONBF, 0);
  SIM_RETURN_IF_ERROR(state->BeginDecoding());
  return ByteStream(std::move(state));
}

Result<size_t> ByteStream::Read(std::span<char> room) {
  if (state_->decoder != nullptr) return state_->ReadFrames(room);
  if (state_->unread.pos == state_->unread.size) return state_->ReadFile(room);
  // What BeginDecoding read ahead comes first.
  const std::span<const char> ahead =
      std::span(state_->packed)
          .subspan(state_->unread.pos, state_->unread.size - state_->unread.pos);
  const size_t count = std::min(room.size(), ahead.size());
  std::copy_n(ahead.begin(), count, room.begin());
  state_->unread.pos += count;
  return count;
}

}  // namespace moecast
