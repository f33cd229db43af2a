// Unpacking: gzip by zlib, Zstandard by libzstd.
#include <zlib.h>
#include <zstd.h>

#include <array>

#include "calibration/import/table.h"
#include "sim/base/files.h"

namespace moecast::calibration {
namespace {

constexpr size_t kBlock = size_t{1} << 16;

Error TooLarge(const std::string& name) {
  return {"unpacks to more than " + std::to_string(kMaxTableBytes >> 20) + " MiB", name};
}

struct InflateStream {
  InflateStream() {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    ok = inflateInit2(&z, kGzipOnly) == Z_OK;
  }
  ~InflateStream() { inflateEnd(&z); }
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;
  z_stream z{};
  bool ok = false;
};

Result<std::string> Gunzip(std::string& packed, const std::string& name) {
  InflateStream stream;
  if (!stream.ok) return Error{"zlib cannot start", name};
  stream.z.next_in = reinterpret_cast<Bytef*>(packed.data());
  stream.z.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  std::array<char, kBlock> block{};
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    stream.z.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.z.avail_out = static_cast<uInt>(block.size());
    state = inflate(&stream.z, Z_NO_FLUSH);
    if (state != Z_OK && state != Z_STREAM_END) return Error{"damaged or cut gzip data", name};
    text.append(block.data(), block.size() - stream.z.avail_out);
    if (text.size() > kMaxTableBytes) return TooLarge(name);
    if (state == Z_STREAM_END && stream.z.avail_in > 0) {  // another member follows
      if (inflateReset(&stream.z) != Z_OK) return Error{"damaged gzip data", name};
      state = Z_OK;
    }
  }
  return text;
}

Result<std::string> UnpackZstandard(const std::string& packed, const std::string& name) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                     &ZSTD_freeDCtx);
  if (context == nullptr) return Error{"libzstd cannot start", name};
  std::string text;
  std::array<char, kBlock> block{};
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t left = 1;  // of the frame in hand
  while (in.pos < in.size) {
    ZSTD_outBuffer out{block.data(), block.size(), 0};
    left = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left) != 0U) return Error{"damaged Zstandard data", name};
    text.append(block.data(), out.pos);
    if (text.size() > kMaxTableBytes) return TooLarge(name);
  }
  while (left != 0) {
    ZSTD_outBuffer out{block.data(), block.size(), 0};
    left = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left) != 0U || out.pos == 0) return Error{"cut Zstandard data", name};
    text.append(block.data(), out.pos);
    if (text.size() > kMaxTableBytes) return TooLarge(name);
  }
  return text;
}

}  // namespace

Result<std::string> Unpack(std::string bytes, const std::string& name) {
  if (bytes.size() > kMaxTableBytes) return TooLarge(name);
  if (bytes.starts_with("\x1f\x8b")) return Gunzip(bytes, name);
  if (bytes.starts_with("\x28\xb5\x2f\xfd")) return UnpackZstandard(bytes, name);
  return bytes;
}

Result<std::string> ReadPacked(const std::filesystem::path& path) {
  SIM_TRY(std::string bytes, ReadFile(path));
  return Unpack(std::move(bytes), path.string());
}

}  // namespace moecast::calibration
