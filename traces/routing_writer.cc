#include "traces/routing_writer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/files.h"
#include "traces/routing_codec.h"
#include "traces/routing_file.h"
#include "traces/routing_frame.h"

namespace moecast {
namespace {

constexpr int64_t kChunkIds = int64_t{1} << 20;  // a chunk of the file holds about this many ids

std::string Trailer(uint64_t footer_offset) {
  std::string trailer;
  AppendLittleEndian(footer_offset, sizeof(uint64_t), trailer);
  AppendLittleEndian(Crc32(trailer), sizeof(uint32_t), trailer);
  trailer += kRoutingEnd;
  return trailer;
}

}  // namespace

struct RoutingWriter::State {
  State(AtomicFile new_file, const RoutingHeader& header)
      : file(std::move(new_file)),
        codec(header),
        layers(static_cast<int64_t>(header.moe_layers.size())),
        top_k(header.top_k) {}

  Status WriteFrame(std::string_view message) {
    const std::string_view frame = frames.Encode(message);
    bytes += frame.size();
    return file.Write(frame);
  }

  AtomicFile file;
  FrameCodec frames;
  RoutingChunkCodec codec;
  int64_t layers;
  int64_t top_k;
  uint64_t bytes = kRoutingPrologueBytes;  // written so far
  uint64_t unknown_rows = 0;
  RoutingFooter footer;
  bool described = false;
};

RoutingWriter::RoutingWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
RoutingWriter::RoutingWriter(RoutingWriter&&) noexcept = default;
RoutingWriter& RoutingWriter::operator=(RoutingWriter&&) noexcept = default;
RoutingWriter::~RoutingWriter() = default;

Result<RoutingWriter> RoutingWriter::Create(const std::filesystem::path& path,
                                            const RoutingHeader& header) {
  SIM_RETURN_IF_ERROR(CheckHeader(header));
  SIM_TRY(AtomicFile file, AtomicFile::Create(path));
  auto state = std::make_unique<State>(std::move(file), header);
  std::string prologue(kRoutingMagic);
  AppendLittleEndian(kRoutingVersion, sizeof(uint32_t), prologue);
  SIM_RETURN_IF_ERROR(state->file.Write(prologue));
  const std::string message = EncodeHeader(header);
  if (message.size() > kMaxFrameBytes) {
    return Error{"the header would take " + std::to_string(message.size()) + " bytes",
                 path.string()};
  }
  SIM_RETURN_IF_ERROR(state->WriteFrame(message));
  return RoutingWriter(std::move(state));
}

Status RoutingWriter::Add(const RoutingChunk& chunk) {
  State& state = *state_;
  const int64_t token_ids = state.layers * state.top_k;
  SIM_CHECK(static_cast<int64_t>(chunk.ids.size()) == chunk.tokens * token_ids);
  const int64_t most = std::max<int64_t>(1, kChunkIds / token_ids);
  for (int64_t first = 0; first < chunk.tokens; first += most) {
    RoutingIndexEntry entry = {.offset = state.bytes,
                               .sequence = chunk.sequence,
                               .phase = chunk.phase,
                               .first_position = chunk.first_position + first,
                               .tokens = std::min(most, chunk.tokens - first)};
    auto& chunks = state.footer.chunks;
    SIM_RETURN_IF_ERROR(CheckOrder(chunks.empty() ? nullptr : &chunks.back(), entry));
    SIM_TRY(const RoutingChunkCodec::Encoded encoded,
            state.codec.Encode(chunk, first, entry.tokens));
    SIM_RETURN_IF_ERROR(state.WriteFrame(encoded.message));
    entry.unknown_rows = encoded.unknown_rows;
    state.unknown_rows += encoded.unknown_rows;
    chunks.push_back(entry);
    state.footer.sequences.resize(size_t{chunk.sequence.value()} + 1);
  }
  return Ok();
}

void RoutingWriter::Describe(SequenceId sequence, RoutingSequence description) {
  SIM_CHECK(sequence.value() < state_->footer.sequences.size());
  state_->footer.sequences[sequence.value()] = std::move(description);
  state_->described = true;
}

Status RoutingWriter::Commit() {
  State& state = *state_;
  const uint64_t footer_offset = state.bytes;
  if (!state.described) state.footer.sequences.clear();
  const std::string footer = EncodeFooter(state.footer);
  if (footer.size() > kMaxFrameBytes) {
    return Error{"the index of " + std::to_string(state.footer.chunks.size()) +
                     " chunks would take " + std::to_string(footer.size()) + " bytes, at most " +
                     std::to_string(kMaxFrameBytes) +
                     " are allowed; split the trace into several files",
                 ""};
  }
  SIM_RETURN_IF_ERROR(state.WriteFrame(footer));
  SIM_RETURN_IF_ERROR(state.file.Write(Trailer(footer_offset)));
  return state.file.Commit();
}

uint64_t RoutingWriter::unknown_rows() const { return state_->unknown_rows; }

}  // namespace moecast
