// ZipStream: zlib's inflate over one member, or plain copies.
#include <zlib.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "traces/formats/zip.h"

namespace moecast {
namespace {

constexpr size_t kInputBytes = size_t{64} << 10;

}  // namespace

struct ZipStream::State {
  State(const ByteFile& of, const ZipMember& member)
      : file(of),
        name(member.name),
        at(member.offset),
        end(member.offset + member.stored_size),
        left(member.size),
        crc_wanted(member.crc),
        deflated(member.deflated) {
    if (!deflated) return;
    SIM_CHECK(inflateInit2(&inflater, -MAX_WBITS) == Z_OK);  // raw deflate; fails without memory
    input.resize(kInputBytes);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (deflated) inflateEnd(&inflater);
  }

  Status FillInput() {
    const auto count = static_cast<size_t>(std::min<uint64_t>(input.size(), end - at));
    SIM_RETURN_IF_ERROR(file.Read(at, std::span(input).first(count)));
    at += count;
    inflater.next_in = reinterpret_cast<Bytef*>(input.data());
    inflater.avail_in = static_cast<uInt>(count);
    return Ok();
  }

  Status Inflate(std::span<char> room) {
    inflater.next_out = reinterpret_cast<Bytef*>(room.data());
    inflater.avail_out = static_cast<uInt>(room.size());
    while (inflater.avail_out > 0) {
      if (inflater.avail_in == 0) SIM_RETURN_IF_ERROR(FillInput());
      const int code = inflate(&inflater, Z_NO_FLUSH);
      const uint64_t place = at - inflater.avail_in;
      if (code == Z_STREAM_END && inflater.avail_out > 0) {
        return file.At(place, "deflated ZIP member '" + name + "' ends before its stated size");
      }
      if (code == Z_BUF_ERROR ||
          (code == Z_OK && inflater.avail_in == 0 && at == end && inflater.avail_out > 0)) {
        return file.At(place, "deflated ZIP member '" + name + "' is truncated");
      }
      if (code != Z_OK && code != Z_STREAM_END) {
        return file.At(place,
                       "deflated ZIP member '" + name + "' is damaged" +
                           (inflater.msg != nullptr ? ": " + std::string(inflater.msg) : ""));
      }
    }
    return Ok();
  }

  const ByteFile& file;
  std::string name;
  uint64_t at;   // next byte of the file to take
  uint64_t end;  // past the member's bytes
  uint64_t left;
  uint32_t crc_wanted;
  uint32_t crc = 0;
  bool deflated;
  z_stream inflater{};
  std::vector<char> input;
};

ZipStream::ZipStream(const ByteFile& file, const ZipMember& member)
    : state_(std::make_unique<State>(file, member)) {}
ZipStream::ZipStream(ZipStream&&) noexcept = default;
ZipStream& ZipStream::operator=(ZipStream&&) noexcept = default;
ZipStream::~ZipStream() = default;

uint64_t ZipStream::left() const { return state_->left; }

Status ZipStream::Read(std::span<char> room) {
  State& state = *state_;
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // zlib counts in 32 bits
  if (room.size() > state.left) {
    return state.file.At(state.at, "ZIP member '" + state.name + "' has " +
                                       std::to_string(state.left) + " bytes left, " +
                                       std::to_string(room.size()) + " are needed");
  }
  while (!room.empty()) {
    const std::span<char> part = room.first(std::min(room.size(), kMostAtOnce));
    if (state.deflated) {
      SIM_RETURN_IF_ERROR(state.Inflate(part));
    } else {
      SIM_RETURN_IF_ERROR(state.file.Read(state.at, part));
      state.at += part.size();
    }
    state.crc = static_cast<uint32_t>(crc32(state.crc, reinterpret_cast<const Bytef*>(part.data()),
                                            static_cast<uInt>(part.size())));
    state.left -= part.size();
    room = room.subspan(part.size());
    if (state.left == 0 && state.crc != state.crc_wanted) {
      return state.file.At(
          state.at, "ZIP member '" + state.name + "' is damaged: it does not match its CRC-32");
    }
  }
  return Ok();
}

}  // namespace moecast
