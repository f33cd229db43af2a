#include "traces/routing_codec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "routing_trace.pb.h"
#include "traces/routing_rows.h"

namespace moecast {
namespace {

namespace v1 = routing::v1;

constexpr int64_t kMaxPosition = int64_t{1} << 40;  // positions and sums of tokens stay exact

Error Damaged(std::string what) { return Error{std::move(what), ""}; }

v1::Phase ToProto(RoutingPhase phase) {
  return phase == RoutingPhase::kPrefill ? v1::PREFILL : v1::DECODE;
}

std::optional<RoutingPhase> FromProto(int phase) {
  if (phase == v1::PREFILL) return RoutingPhase::kPrefill;
  if (phase == v1::DECODE) return RoutingPhase::kDecode;
  return std::nullopt;
}

template <class Message>
bool Parse(std::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

/// "token 3, layer 7 (model layer 8)" of a row.
std::string RowPlace(const RoutingHeader& header, int64_t first_token, size_t row) {
  const size_t layers = header.moe_layers.size();
  const size_t layer = row % layers;
  return "token " + std::to_string(first_token + static_cast<int64_t>(row / layers)) +
         " of the chunk, MoE layer " + std::to_string(layer) + " (model layer " +
         std::to_string(header.moe_layers[layer]) + ")";
}

Error BadRow(const RoutingHeader& header, int64_t first_token, const RowProblem& problem) {
  return Damaged(RowPlace(header, first_token, problem.row) + ": " +
                 Describe(problem, header.experts));
}

Error UnstorableScore(float score, const RoutingHeader& header) {
  return Damaged("gate score " + std::to_string(score) + " cannot be stored, allowed are 0 to " +
                 std::to_string(header.score_unit * 65535));
}

}  // namespace

Status CheckHeader(const RoutingHeader& header) {
  if (header.experts < 1 || header.experts > kMaxRoutingExperts) {
    return Damaged("experts is " + std::to_string(header.experts) + ", allowed are 1 to " +
                   std::to_string(kMaxRoutingExperts));
  }
  if (header.top_k < 1 || header.top_k > header.experts) {
    return Damaged("top_k is " + std::to_string(header.top_k) + ", allowed are 1 to " +
                   std::to_string(header.experts) + ", the experts");
  }
  if (header.further_ranks < 0 || header.further_ranks > header.experts - header.top_k) {
    return Damaged("further_ranks is " + std::to_string(header.further_ranks) +
                   ", allowed are 0 to " + std::to_string(header.experts - header.top_k) +
                   ", the experts that are not in the top k");
  }
  if (header.moe_layers.empty()) return Damaged("moe_layers is empty");
  if (header.moe_layers.size() > static_cast<size_t>(kMaxRoutingLayers)) {
    return Damaged("moe_layers has " + std::to_string(header.moe_layers.size()) +
                   " entries, at most " + std::to_string(kMaxRoutingLayers) + " are allowed");
  }
  const int64_t token_ids = static_cast<int64_t>(header.moe_layers.size()) *
                            (int64_t{header.top_k} + header.further_ranks);
  if (token_ids > kMaxTokenIds) {
    return Damaged("moe_layers times ranks is " + std::to_string(token_ids) + ", at most " +
                   std::to_string(kMaxTokenIds) + " ids per token are allowed");
  }
  int32_t last = -1;
  for (const int32_t layer : header.moe_layers) {
    if (layer <= last) {
      return Damaged("moe_layers has " + std::to_string(layer) + " after " + std::to_string(last) +
                     ", layers are >= 0 and ascending");
    }
    last = layer;
  }
  if (header.has_scores && !(header.score_unit > 0 && std::isfinite(header.score_unit))) {
    return Damaged("score_unit must be a positive number");
  }
  return Ok();
}

Status CheckOrder(const RoutingIndexEntry* last, const RoutingIndexEntry& next) {
  if (next.tokens < 1 || next.tokens > kMaxPosition || next.first_position < 0 ||
      next.first_position > kMaxPosition) {
    return Damaged("a chunk of " + std::to_string(next.tokens) + " tokens from position " +
                   std::to_string(next.first_position));
  }
  const uint32_t sequence = next.sequence.value();
  const uint32_t expected = last == nullptr ? 0 : last->sequence.value() + 1;
  if (sequence == expected) return Ok();
  if (last == nullptr || sequence != last->sequence.value()) {
    return Damaged("sequence " + std::to_string(sequence) + " where " + std::to_string(expected) +
                   " comes next, sequences are numbered from 0 in file order");
  }
  const bool phase_back =
      last->phase == RoutingPhase::kDecode && next.phase == RoutingPhase::kPrefill;
  if (phase_back || next.first_position < last->first_position + last->tokens) {
    return Damaged("sequence " + std::to_string(sequence) + " goes back to position " +
                   std::to_string(next.first_position) +
                   ", chunks are in position order, prefill before decode");
  }
  return Ok();
}

std::string EncodeHeader(const RoutingHeader& header) {
  v1::Header message;
  message.set_source(header.source);
  message.set_model(header.model);
  for (const int32_t layer : header.moe_layers) {
    message.add_moe_layers(static_cast<uint32_t>(layer));
  }
  message.set_experts(static_cast<uint32_t>(header.experts));
  message.set_top_k(static_cast<uint32_t>(header.top_k));
  message.set_id_space(v1::LOGICAL);
  message.set_has_scores(header.has_scores);
  if (header.has_scores) message.set_score_unit(header.score_unit);
  message.set_further_ranks(static_cast<uint32_t>(header.further_ranks));
  return message.SerializeAsString();
}

Result<RoutingHeader> DecodeHeader(std::string_view bytes) {
  v1::Header message;
  if (!Parse(bytes, message)) return Damaged("is not a routing trace header");
  if (message.id_space() != v1::LOGICAL) {
    return Damaged("its ids are not logical expert ids (id_space " +
                   std::to_string(message.id_space()) + ")");
  }
  constexpr uint32_t kMax = std::numeric_limits<int32_t>::max();
  RoutingHeader header;
  header.source = message.source();
  header.model = message.model();
  for (const uint32_t layer : message.moe_layers()) {
    if (layer > kMax) return Damaged("moe_layers has " + std::to_string(layer));
    header.moe_layers.push_back(static_cast<int32_t>(layer));
  }
  if (message.experts() > kMax || message.top_k() > kMax || message.further_ranks() > kMax) {
    return Damaged("experts, top_k or further_ranks is above " + std::to_string(kMax));
  }
  header.experts = static_cast<int32_t>(message.experts());
  header.top_k = static_cast<int32_t>(message.top_k());
  header.further_ranks = static_cast<int32_t>(message.further_ranks());
  header.has_scores = message.has_scores();
  if (header.has_scores) header.score_unit = message.score_unit();
  SIM_RETURN_IF_ERROR(CheckHeader(header));
  return header;
}

std::string EncodeFooter(const RoutingFooter& footer) {
  v1::Footer message;
  for (const RoutingIndexEntry& chunk : footer.chunks) {
    message.add_offset(chunk.offset);
    message.add_sequence(chunk.sequence.value());
    message.add_phase(ToProto(chunk.phase));
    message.add_first_position(static_cast<uint64_t>(chunk.first_position));
    message.add_tokens(static_cast<uint32_t>(chunk.tokens));
    message.add_unknown_rows(chunk.unknown_rows);
  }
  for (const RoutingSequence& sequence : footer.sequences) {
    v1::Sequence& entry = *message.add_sequences();
    entry.set_request_id(sequence.request_id);
    entry.set_category(sequence.category);
  }
  return message.SerializeAsString();
}

Result<RoutingFooter> DecodeFooter(std::string_view bytes) {
  v1::Footer message;
  if (!Parse(bytes, message)) return Damaged("is not a routing trace footer");
  const int chunks = message.offset_size();
  for (const int size :
       {message.sequence_size(), message.phase_size(), message.first_position_size(),
        message.tokens_size(), message.unknown_rows_size()}) {
    if (size != chunks) return Damaged("the lists of the index differ in length");
  }
  RoutingFooter footer;
  footer.chunks.reserve(static_cast<size_t>(chunks));
  for (int i = 0; i < chunks; ++i) {
    const std::optional<RoutingPhase> phase = FromProto(message.phase(i));
    if (!phase) return Damaged("phase " + std::to_string(message.phase(i)) + " is unknown");
    const RoutingIndexEntry entry = {
        .offset = message.offset(i),
        .sequence = SequenceId(message.sequence(i)),
        .phase = *phase,
        .first_position = static_cast<int64_t>(message.first_position(i)),
        .tokens = message.tokens(i),
        .unknown_rows = message.unknown_rows(i)};
    SIM_RETURN_IF_ERROR(CheckOrder(footer.chunks.empty() ? nullptr : &footer.chunks.back(), entry));
    footer.chunks.push_back(entry);
  }
  const size_t sequences =
      footer.chunks.empty() ? 0 : size_t{footer.chunks.back().sequence.value()} + 1;
  if (static_cast<size_t>(message.sequences_size()) > sequences) {
    return Damaged("describes " + std::to_string(message.sequences_size()) + " sequences of " +
                   std::to_string(sequences));
  }
  for (const v1::Sequence& entry : message.sequences()) {
    footer.sequences.push_back({entry.request_id(), entry.category()});
  }
  footer.sequences.resize(sequences);
  return footer;
}

struct RoutingChunkCodec::Buffers {
  v1::Chunk message;
  PackedRows rows;
  std::string bytes;
  std::vector<uint16_t> whole_rows;  // [row][top_k + further_ranks]
};

RoutingChunkCodec::RoutingChunkCodec(RoutingHeader header)
    : header_(std::move(header)), buffers_(std::make_unique<Buffers>()) {
  SIM_CHECK(CheckHeader(header_).ok());
}
RoutingChunkCodec::RoutingChunkCodec(RoutingChunkCodec&&) noexcept = default;
RoutingChunkCodec& RoutingChunkCodec::operator=(RoutingChunkCodec&&) noexcept = default;
RoutingChunkCodec::~RoutingChunkCodec() = default;

Result<RoutingChunkCodec::Encoded> RoutingChunkCodec::Encode(const RoutingChunk& chunk,
                                                             int64_t first_token, int64_t tokens) {
  const size_t token_ids = header_.moe_layers.size() * static_cast<size_t>(header_.top_k);
  const size_t begin = static_cast<size_t>(first_token) * token_ids;
  const size_t count = static_cast<size_t>(tokens) * token_ids;
  SIM_CHECK(begin + count <= chunk.ids.size());
  SIM_CHECK(chunk.scores.size() == (header_.has_scores ? chunk.ids.size() : 0));
  const std::span ids = std::span(chunk.ids).subspan(begin, count);
  if (const auto problem = FindProblem(ids, header_.experts, header_.top_k)) {
    return BadRow(header_, first_token, *problem);
  }
  const size_t rows = count / static_cast<size_t>(header_.top_k);
  const size_t first_row = begin / static_cast<size_t>(header_.top_k);
  SIM_RETURN_IF_ERROR(CheckFurther(chunk, first_row, rows));
  v1::Chunk& message = buffers_->message;
  message.Clear();
  message.set_sequence(chunk.sequence.value());
  message.set_phase(ToProto(chunk.phase));
  message.set_first_position(static_cast<uint64_t>(chunk.first_position + first_token));
  message.set_tokens(static_cast<uint32_t>(tokens));
  Pack(ids, header_.experts, header_.top_k, buffers_->rows);
  message.mutable_ids()->swap(buffers_->rows.ids);
  message.mutable_unknown_rows()->swap(buffers_->rows.unknown_rows);
  if (header_.has_scores) {
    const std::span scores = std::span(chunk.scores).subspan(begin, count);
    if (const auto bad = PackScores(scores, header_.score_unit, *message.mutable_scores())) {
      return UnstorableScore(*bad, header_);
    }
  }
  SIM_RETURN_IF_ERROR(EncodeFurther(chunk, first_row, rows));
  message.SerializeToString(&buffers_->bytes);
  return Encoded{.message = buffers_->bytes, .unknown_rows = buffers_->rows.unknown_count};
}

Result<uint64_t> RoutingChunkCodec::Decode(std::string_view bytes, RoutingChunk& chunk) {
  v1::Chunk& message = buffers_->message;
  message.Clear();
  if (!Parse(bytes, message)) return Damaged("is not a routing trace chunk");
  const std::optional<RoutingPhase> phase = FromProto(message.phase());
  if (!phase) return Damaged("phase " + std::to_string(message.phase()) + " is unknown");
  const size_t rows = size_t{message.tokens()} * header_.moe_layers.size();
  const size_t count = rows * static_cast<size_t>(header_.top_k);
  const std::string& unknown_rows = message.unknown_rows();
  // The first test bounds the products above: ids has a byte or more per token.
  if (message.tokens() > message.ids().size() ||
      message.ids().size() != count * IdBytes(header_.experts) ||
      message.scores().size() != (header_.has_scores ? 2 * count : 0) ||
      (!unknown_rows.empty() && unknown_rows.size() != (rows + 7) / 8)) {
    return Damaged("its ids, scores or unknown rows do not have the size of " +
                   std::to_string(message.tokens()) + " tokens");
  }
  chunk.sequence = SequenceId(message.sequence());
  chunk.phase = *phase;
  chunk.first_position = static_cast<int64_t>(message.first_position());
  chunk.tokens = message.tokens();
  chunk.ids.resize(count);
  WidenIds(message.ids(), IdBytes(header_.experts), chunk.ids);
  const uint64_t unknown =
      unknown_rows.empty() ? 0 : MarkUnknown(unknown_rows, header_.top_k, chunk.ids);
  const std::span packed(reinterpret_cast<const uint8_t*>(message.ids().data()),
                         message.ids().size());
  const bool clean = IdBytes(header_.experts) == 1 && unknown == 0 &&
                     AllClean(packed, header_.experts, header_.top_k);
  if (!clean) {
    const auto problem = FindProblem(chunk.ids, header_.experts, header_.top_k);
    if (problem) return BadRow(header_, 0, *problem);
  }
  chunk.scores.resize(message.scores().size() / 2);
  UnpackScores(message.scores(), header_.score_unit, chunk.scores);
  SIM_RETURN_IF_ERROR(DecodeFurther(chunk, rows));
  return unknown;
}

Status RoutingChunkCodec::CheckFurther(const RoutingChunk& chunk, size_t first_row, size_t rows) {
  const auto k = static_cast<size_t>(header_.top_k);
  const auto further = static_cast<size_t>(header_.further_ranks);
  SIM_CHECK(chunk.further_ids.size() == chunk.ids.size() / k * further);
  SIM_CHECK(chunk.further_scores.size() == (header_.has_scores ? chunk.further_ids.size() : 0));
  if (further == 0) return Ok();
  std::vector<uint16_t>& whole = buffers_->whole_rows;
  whole.resize(rows * (k + further));
  for (size_t row = 0; row < rows; ++row) {
    const auto best = std::span(chunk.ids).subspan((first_row + row) * k, k);
    const auto next = std::span(chunk.further_ids).subspan((first_row + row) * further, further);
    const auto out = std::span(whole).subspan(row * (k + further), k + further);
    std::copy(next.begin(), next.end(), std::copy(best.begin(), best.end(), out.begin()));
  }
  const int32_t ranks = header_.top_k + header_.further_ranks;
  const auto problem = FindProblem(whole, header_.experts, ranks);
  if (!problem) return Ok();
  const auto first_token = static_cast<int64_t>(first_row / header_.moe_layers.size());
  return BadRow(header_, first_token, *problem);
}

Status RoutingChunkCodec::EncodeFurther(const RoutingChunk& chunk, size_t first_row, size_t rows) {
  if (header_.further_ranks == 0) return Ok();
  const auto further = static_cast<size_t>(header_.further_ranks);
  const size_t begin = first_row * further;
  const size_t count = rows * further;
  Pack(std::span(chunk.further_ids).subspan(begin, count), header_.experts, header_.further_ranks,
       buffers_->rows);
  v1::Chunk& message = buffers_->message;
  message.mutable_further_ids()->swap(buffers_->rows.ids);
  if (!header_.has_scores) return Ok();
  const std::span scores = std::span(chunk.further_scores).subspan(begin, count);
  const auto bad = PackScores(scores, header_.score_unit, *message.mutable_further_scores());
  return bad ? Status(UnstorableScore(*bad, header_)) : Ok();
}

Status RoutingChunkCodec::DecodeFurther(RoutingChunk& chunk, size_t rows) {
  const v1::Chunk& message = buffers_->message;
  const size_t count = rows * static_cast<size_t>(header_.further_ranks);
  if (message.further_ids().size() != count * IdBytes(header_.experts) ||
      message.further_scores().size() != (header_.has_scores ? 2 * count : 0)) {
    return Damaged("its further ids or scores do not have the size of " +
                   std::to_string(message.tokens()) + " tokens");
  }
  chunk.further_ids.resize(count);
  chunk.further_scores.resize(message.further_scores().size() / 2);
  if (count == 0) return Ok();
  WidenIds(message.further_ids(), IdBytes(header_.experts), chunk.further_ids);
  if (!message.unknown_rows().empty()) {
    MarkUnknown(message.unknown_rows(), header_.further_ranks, chunk.further_ids);
  }
  UnpackScores(message.further_scores(), header_.score_unit, chunk.further_scores);
  return CheckFurther(chunk, 0, rows);
}

}  // namespace moecast
