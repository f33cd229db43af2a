#include "traces/routing_reader.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>
#include <optional>
#include <string_view>
#include <utility>

#include "sim/base/check.h"
#include "traces/routing_codec.h"
#include "traces/routing_file.h"
#include "traces/routing_frame.h"

namespace moecast {
namespace {

/// The same errors, at `place`.
Errors At(const std::string& place, Errors errors) {
  for (Error& error : errors) error.where = place;
  return errors;
}

RoutingReader::Totals Count(const RoutingFooter& footer) {
  RoutingReader::Totals totals = {.sequences = footer.sequences.size(),
                                  .chunks = footer.chunks.size()};
  for (const RoutingIndexEntry& chunk : footer.chunks) {
    const auto tokens = static_cast<uint64_t>(chunk.tokens);
    (chunk.phase == RoutingPhase::kPrefill ? totals.prefill_tokens : totals.decode_tokens) +=
        tokens;
    totals.unknown_rows += chunk.unknown_rows;
  }
  return totals;
}

}  // namespace

struct RoutingReader::State {
  std::string name;
  std::unique_ptr<std::istream> stream;
  uint64_t size = 0;
  FrameCodec frames;
  std::string payload;
  RoutingHeader header;
  RoutingFooter footer;
  Totals totals;
  std::optional<RoutingChunkCodec> codec;
  size_t next_chunk = 0;

  [[nodiscard]] Error Fail(std::string message) const { return Error{std::move(message), name}; }

  Status ReadAt(uint64_t offset, size_t bytes, std::string& out) {
    out.resize(bytes);
    stream->clear();
    stream->seekg(static_cast<std::streamoff>(offset));
    stream->read(out.data(), static_cast<std::streamsize>(bytes));
    if (stream->gcount() == static_cast<std::streamsize>(bytes)) return Ok();
    return Fail("cannot read " + std::to_string(bytes) + " bytes at byte " +
                std::to_string(offset));
  }

  /// The message of the frame at `offset`, which must end at or before `limit`; `offset` moves
  /// past.
  Result<std::string_view> ReadFrame(const std::string& what, uint64_t& offset, uint64_t limit) {
    const std::string place = name + ": " + what + " at byte " + std::to_string(offset);
    if (limit < offset || limit - offset < kFrameHeadBytes) {
      return Error{"damaged or truncated: no room for a frame", place};
    }
    SIM_RETURN_IF_ERROR(ReadAt(offset, kFrameHeadBytes, payload));
    const Result<FrameHead> head = frames.DecodeHead(payload, limit - offset - kFrameHeadBytes);
    if (!head.ok()) return At(place, head.errors());
    SIM_RETURN_IF_ERROR(ReadAt(offset + kFrameHeadBytes, head->payload_bytes, payload));
    Result<std::string_view> message = frames.DecodePayload(*head, payload);
    if (!message.ok()) return At(place, message.errors());
    offset += kFrameHeadBytes + head->payload_bytes;
    return message;
  }

  Status ReadPrologue();
  Result<uint64_t> ReadFooterOffset();
  Status ReadHeaderAndFooter();
};

Status RoutingReader::State::ReadPrologue() {
  const std::string wrong =
      "is not a moecast routing trace: it does not begin with " + std::string(kRoutingMagic);
  if (size < kRoutingPrologueBytes) return Fail(wrong);
  SIM_RETURN_IF_ERROR(ReadAt(0, kRoutingPrologueBytes, payload));
  if (!std::string_view(payload).starts_with(kRoutingMagic)) return Fail(wrong);
  const uint64_t version =
      ParseLittleEndian(std::string_view(payload).substr(kRoutingMagic.size()));
  if (version != kRoutingVersion) {
    return Fail("has format version " + std::to_string(version) + ", this program reads version " +
                std::to_string(kRoutingVersion));
  }
  return Ok();
}

Result<uint64_t> RoutingReader::State::ReadFooterOffset() {
  if (size < kRoutingPrologueBytes + kRoutingTrailerBytes) {
    return Fail("is truncated: " + std::to_string(size) + " bytes, no end mark");
  }
  const uint64_t trailer_offset = size - kRoutingTrailerBytes;
  SIM_RETURN_IF_ERROR(ReadAt(trailer_offset, kRoutingTrailerBytes, payload));
  const std::string_view trailer = payload;
  if (!trailer.ends_with(kRoutingEnd)) {
    return Fail("is truncated: its " + std::to_string(size) + " bytes do not end with " +
                std::string(kRoutingEnd));
  }
  const std::string_view offset = trailer.substr(0, sizeof(uint64_t));
  if (Crc32(offset) != ParseLittleEndian(trailer.substr(sizeof(uint64_t), sizeof(uint32_t)))) {
    return Fail("is damaged: the offset of its index at byte " + std::to_string(trailer_offset) +
                " does not match its CRC-32");
  }
  return ParseLittleEndian(offset);
}

Status RoutingReader::State::ReadHeaderAndFooter() {
  SIM_RETURN_IF_ERROR(ReadPrologue());
  SIM_TRY(const uint64_t footer_offset, ReadFooterOffset());
  const uint64_t trailer_offset = size - kRoutingTrailerBytes;
  uint64_t offset = kRoutingPrologueBytes;
  SIM_TRY(const std::string_view header_bytes, ReadFrame("header", offset, trailer_offset));
  Result<RoutingHeader> decoded = DecodeHeader(header_bytes);
  if (!decoded.ok()) return At(name + ": header", decoded.errors());
  header = std::move(decoded).value();
  codec.emplace(header);
  uint64_t end = footer_offset;
  SIM_TRY(const std::string_view footer_bytes, ReadFrame("index", end, trailer_offset));
  Result<RoutingFooter> index = DecodeFooter(footer_bytes);
  const std::string place = name + ": index at byte " + std::to_string(footer_offset);
  if (!index.ok()) return At(place, index.errors());
  footer = std::move(index).value();
  for (const RoutingIndexEntry& chunk : footer.chunks) {
    if (chunk.offset < offset || chunk.offset >= footer_offset) {
      return Error{"damaged: a chunk at byte " + std::to_string(chunk.offset) +
                       ", chunks are in order between bytes " + std::to_string(offset) + " and " +
                       std::to_string(footer_offset),
                   place};
    }
    offset = chunk.offset + kFrameHeadBytes;
  }
  totals = Count(footer);
  return Ok();
}

RoutingReader::RoutingReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
RoutingReader::RoutingReader(RoutingReader&&) noexcept = default;
RoutingReader& RoutingReader::operator=(RoutingReader&&) noexcept = default;
RoutingReader::~RoutingReader() = default;

Result<RoutingReader> RoutingReader::Open(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return Error{"is a folder, not a routing trace", path.string()};
  }
  errno = 0;
  auto stream = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*stream) {
    return Error{std::string("cannot open: ") + std::strerror(errno), path.string()};
  }
  return Open(std::move(stream), path.string());
}

Result<RoutingReader> RoutingReader::Open(std::unique_ptr<std::istream> stream, std::string name) {
  auto state = std::make_unique<State>();
  state->name = std::move(name);
  state->stream = std::move(stream);
  state->stream->seekg(0, std::ios::end);
  const std::streamoff end = state->stream->tellg();
  if (end < 0) return state->Fail("cannot be read at any position, it must be a file");
  state->size = static_cast<uint64_t>(end);
  SIM_RETURN_IF_ERROR(state->ReadHeaderAndFooter());
  return RoutingReader(std::move(state));
}

const RoutingHeader& RoutingReader::header() const { return state_->header; }
const RoutingReader::Totals& RoutingReader::totals() const { return state_->totals; }
const std::vector<RoutingSequence>& RoutingReader::sequences() const {
  return state_->footer.sequences;
}

Result<bool> RoutingReader::Next(RoutingChunk& chunk) {
  State& state = *state_;
  const std::vector<RoutingIndexEntry>& chunks = state.footer.chunks;
  if (state.next_chunk == chunks.size()) return false;
  const RoutingIndexEntry& entry = chunks[state.next_chunk];
  const std::string what = "chunk " + std::to_string(state.next_chunk);
  const std::string place = state.name + ": " + what + " at byte " + std::to_string(entry.offset);
  ++state.next_chunk;
  // The next chunk, or the index, bounds this one: an offset cannot lead into other frames.
  const uint64_t limit = state.next_chunk < chunks.size() ? chunks[state.next_chunk].offset
                                                          : state.size - kRoutingTrailerBytes;
  uint64_t offset = entry.offset;
  SIM_TRY(const std::string_view message, state.ReadFrame(what, offset, limit));
  const Result<uint64_t> unknown = state.codec->Decode(message, chunk);
  if (!unknown.ok()) return At(place, unknown.errors());
  const RoutingIndexEntry found = {.offset = entry.offset,
                                   .sequence = chunk.sequence,
                                   .phase = chunk.phase,
                                   .first_position = chunk.first_position,
                                   .tokens = chunk.tokens,
                                   .unknown_rows = *unknown};
  if (found != entry) return Error{"damaged: the chunk is not the one its index entry says", place};
  return true;
}

}  // namespace moecast
