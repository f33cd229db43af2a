#include "traces/routing_frame.h"

#include <zlib.h>
#include <zstd.h>

#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

constexpr int kZstdLevel = 1;  // docs/adr/0030-routing-trace-container.md has the figures
constexpr size_t kWordBytes = 4;

uint32_t FrameCrc(std::string_view sizes, std::string_view payload) {
  const uLong first =
      crc32(0, reinterpret_cast<const Bytef*>(sizes.data()), static_cast<uInt>(sizes.size()));
  return static_cast<uint32_t>(crc32(first, reinterpret_cast<const Bytef*>(payload.data()),
                                     static_cast<uInt>(payload.size())));
}

std::string Sizes(uint32_t payload_bytes, uint32_t message_bytes) {
  std::string sizes;
  AppendLittleEndian(payload_bytes, kWordBytes, sizes);
  AppendLittleEndian(message_bytes, kWordBytes, sizes);
  return sizes;
}

}  // namespace

void AppendLittleEndian(uint64_t value, size_t bytes, std::string& out) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

uint64_t ParseLittleEndian(std::string_view bytes) {
  SIM_CHECK(bytes.size() <= sizeof(uint64_t));
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

uint32_t Crc32(std::string_view bytes) { return FrameCrc(bytes, {}); }

struct FrameCodec::Contexts {
  ZSTD_CCtx* compress = ZSTD_createCCtx();
  ZSTD_DCtx* decompress = ZSTD_createDCtx();
  Contexts() = default;
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
  ~Contexts() {
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
  }
};

FrameCodec::FrameCodec() : contexts_(std::make_unique<Contexts>()) {
  SIM_CHECK(contexts_->compress != nullptr && contexts_->decompress != nullptr);
}
FrameCodec::FrameCodec(FrameCodec&&) noexcept = default;
FrameCodec& FrameCodec::operator=(FrameCodec&&) noexcept = default;
FrameCodec::~FrameCodec() = default;

std::string_view FrameCodec::Encode(std::string_view message) {
  SIM_CHECK(message.size() <= kMaxFrameBytes);
  buffer_.resize(kFrameHeadBytes + ZSTD_compressBound(message.size()));
  const size_t written = ZSTD_compressCCtx(contexts_->compress, buffer_.data() + kFrameHeadBytes,
                                           buffer_.size() - kFrameHeadBytes, message.data(),
                                           message.size(), kZstdLevel);
  SIM_CHECK(ZSTD_isError(written) == 0);  // the bound leaves no way to fail but lack of memory
  std::string head = Sizes(static_cast<uint32_t>(written), static_cast<uint32_t>(message.size()));
  const std::string_view payload = std::string_view(buffer_).substr(kFrameHeadBytes, written);
  AppendLittleEndian(FrameCrc(head, payload), kWordBytes, head);
  buffer_.replace(0, kFrameHeadBytes, head);
  return std::string_view(buffer_).substr(0, kFrameHeadBytes + written);
}

Result<FrameHead> FrameCodec::DecodeHead(std::string_view head, uint64_t bytes_left) const {
  SIM_CHECK(head.size() == kFrameHeadBytes);
  const auto word = [head](size_t i) {
    return static_cast<uint32_t>(ParseLittleEndian(head.substr(i * kWordBytes, kWordBytes)));
  };
  const FrameHead parsed = {.payload_bytes = word(0), .message_bytes = word(1), .crc = word(2)};
  if (parsed.payload_bytes > bytes_left) {
    return Error{"damaged or truncated: a frame of " + std::to_string(parsed.payload_bytes) +
                     " bytes where " + std::to_string(bytes_left) + " are left",
                 ""};
  }
  if (parsed.payload_bytes > kMaxFrameBytes || parsed.message_bytes > kMaxFrameBytes) {
    return Error{"damaged: a frame of " + std::to_string(parsed.payload_bytes) + " bytes for " +
                     std::to_string(parsed.message_bytes) + ", at most " +
                     std::to_string(kMaxFrameBytes) + " are allowed",
                 ""};
  }
  return parsed;
}

Result<std::string_view> FrameCodec::DecodePayload(const FrameHead& head,
                                                   std::string_view payload) {
  SIM_CHECK(payload.size() == head.payload_bytes);
  if (FrameCrc(Sizes(head.payload_bytes, head.message_bytes), payload) != head.crc) {
    return Error{"damaged: its bytes do not match its CRC-32", ""};
  }
  buffer_.resize(head.message_bytes);
  const size_t size = ZSTD_decompressDCtx(contexts_->decompress, buffer_.data(), buffer_.size(),
                                          payload.data(), payload.size());
  if (ZSTD_isError(size) != 0) {
    return Error{std::string("cannot be decompressed: ") + ZSTD_getErrorName(size), ""};
  }
  if (size != head.message_bytes) {
    return Error{"holds " + std::to_string(size) + " bytes, its head says " +
                     std::to_string(head.message_bytes),
                 ""};
  }
  return std::string_view(buffer_);
}

}  // namespace moecast
