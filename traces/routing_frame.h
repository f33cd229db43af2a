// Frames: how a routing trace stores one message. A frame is payload size, message size and CRC-32,
// each u32 little-endian, then the payload: the message compressed by Zstandard.
// docs/formats/routing.md, "Frames".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sim/base/result.h"

namespace moecast {

inline constexpr size_t kFrameHeadBytes = 12;
/// No message, compressed or not, is larger: what a damaged size can make a reader allocate.
inline constexpr size_t kMaxFrameBytes = size_t{64} << 20;

/// The fixed part of a frame.
struct FrameHead {
  uint32_t payload_bytes = 0;
  uint32_t message_bytes = 0;
  uint32_t crc = 0;  // CRC-32 (IEEE) of the two sizes as stored, then of the payload
};

/// u32 and u64 as the trace stores them.
void AppendLittleEndian(uint64_t value, size_t bytes, std::string& out);
/// The little-endian number in `bytes`, at most 8 of them.
uint64_t ParseLittleEndian(std::string_view bytes);
/// CRC-32 (IEEE 802.3) of `bytes`.
uint32_t Crc32(std::string_view bytes);

/// Compresses and decompresses frames; keeps its working memory between calls. Not thread safe.
class FrameCodec {
 public:
  FrameCodec();
  FrameCodec(FrameCodec&&) noexcept;
  FrameCodec& operator=(FrameCodec&&) noexcept;
  ~FrameCodec();

  /// The whole frame of `message`. REQUIRES: at most kMaxFrameBytes. The view lasts until the next
  /// call.
  std::string_view Encode(std::string_view message);

  /// Reads a head. ERRORS: a size above kMaxFrameBytes or a payload larger than `bytes_left`, the
  /// bytes of the file after the head. `head` has kFrameHeadBytes.
  Result<FrameHead> DecodeHead(std::string_view head, uint64_t bytes_left) const;
  /// The message. ERRORS: CRC mismatch, damaged compression, a size that differs from the head's.
  /// The view lasts until the next call.
  Result<std::string_view> DecodePayload(const FrameHead& head, std::string_view payload);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
  std::string buffer_;
};

}  // namespace moecast
