#include "traces/routing_import.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "traces/request_bytes.h"
#include "traces/routing_rows.h"
#include "traces/routing_writer.h"

namespace moecast {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr int64_t kBlockIds = int64_t{1} << 20;
/// A sequence that must be held whole (layout layer_token_k) has at most this many ids.
constexpr int64_t kMaxHeldIds = int64_t{1} << 26;

/// Numbers of a raw array, pulled in order.
class RawReader {
 public:
  static Result<RawReader> Open(const RawArray& array, int64_t expected) {
    SIM_TRY(ByteStream stream, ByteStream::Open(array.path));
    return RawReader(std::move(stream), array, expected);
  }

  /// Replaces `values` by the next `count`. Takes memory as bytes arrive, so a shape that the array
  /// does not have costs none. ERRORS: the array ends before.
  Status Read(size_t count, std::vector<uint16_t>& values) {
    const size_t wanted = count * array_.element_bytes;
    bytes_.clear();
    while (bytes_.size() < wanted) {
      const size_t before = bytes_.size();
      const size_t step = std::min(wanted - before, kReadBytes);
      bytes_.resize(before + step);
      SIM_TRY(const size_t got, Fill(std::span(bytes_).subspan(before)));
      if (got == step) continue;
      return Error{"ends after " + std::to_string(read_) + " bytes, expected are " + Expected(),
                   array_.path.string()};
    }
    values.resize(count);
    WidenIds(bytes_, array_.element_bytes, values);
    return Ok();
  }

  /// ERRORS: there are bytes left.
  Status ExpectEnd() {
    bytes_.resize(1);
    SIM_TRY(const size_t got, Fill(bytes_));
    if (got == 0) return Ok();
    return Error{"is longer than the expected " + Expected(), array_.path.string()};
  }

 private:
  RawReader(ByteStream stream, RawArray array, int64_t expected)
      : stream_(std::move(stream)), array_(std::move(array)), expected_(expected) {}

  Result<size_t> Fill(std::span<char> room) {
    size_t filled = 0;
    while (filled < room.size()) {
      SIM_TRY(const size_t got, stream_.Read(room.subspan(filled)));
      if (got == 0) break;
      filled += got;
    }
    read_ += filled;
    return filled;
  }

  [[nodiscard]] std::string Expected() const {
    return std::to_string(expected_ * static_cast<int64_t>(array_.element_bytes)) + " bytes (" +
           std::to_string(expected_) + " values of " + std::to_string(array_.element_bytes) +
           " bytes: the sequences' tokens x MoE layers x ranks)";
  }

  ByteStream stream_;
  RawArray array_;
  int64_t expected_;  // values
  uint64_t read_ = 0;
  std::string bytes_;
};

/// From [layer][token][k] to [token][layer][k].
void Transpose(size_t layers, size_t top_k, std::vector<uint16_t>& values,
               std::vector<uint16_t>& scratch) {
  scratch.resize(values.size());
  const size_t tokens = values.size() / (layers * top_k);
  for (size_t layer = 0; layer < layers; ++layer) {
    for (size_t token = 0; token < tokens; ++token) {
      const auto from =
          values.begin() + static_cast<std::ptrdiff_t>((layer * tokens + token) * top_k);
      std::copy_n(from, top_k,
                  scratch.begin() + static_cast<std::ptrdiff_t>((token * layers + layer) * top_k));
    }
  }
  values.swap(scratch);
}

/// Sorts each row of ids by falling score, equal scores as they were. Rows are short.
void RankByScore(size_t top_k, std::span<uint16_t> ids, std::span<uint16_t> scores) {
  for (size_t row = 0; row < ids.size(); row += top_k) {
    for (size_t i = row + 1; i < row + top_k; ++i) {
      for (size_t j = i; j > row && scores[j] > scores[j - 1]; --j) {
        std::swap(scores[j], scores[j - 1]);
        std::swap(ids[j], ids[j - 1]);
      }
    }
  }
}

/// One import under way.
class Importer {
 public:
  Importer(const RoutingImport& import, RoutingWriter writer, RawReader ids,
           std::optional<RawReader> scores)
      : import_(import),
        writer_(std::move(writer)),
        ids_(std::move(ids)),
        scores_(std::move(scores)),
        layers_(import.header.moe_layers.size()),
        top_k_(static_cast<size_t>(import.header.top_k)),
        ranks_(top_k_ + static_cast<size_t>(import.header.further_ranks)) {}

  Result<RoutingImportNotes> Run(const ImportProgress& progress) {
    int64_t all = 0;
    for (const ImportSequence& sequence : import_.sequences) all += sequence.tokens;
    int64_t done = 0;
    for (const ImportSequence& sequence : import_.sequences) {
      SIM_RETURN_IF_ERROR(Copy(sequence));
      (sequence.dropped ? notes_.dropped_tokens : notes_.tokens) += sequence.tokens;
      ++(sequence.dropped ? notes_.dropped_sequences : notes_.sequences);
      done += sequence.tokens;
      if (progress) progress(done, all);
    }
    SIM_RETURN_IF_ERROR(ids_.ExpectEnd());
    if (scores_) SIM_RETURN_IF_ERROR(scores_->ExpectEnd());
    SIM_RETURN_IF_ERROR(writer_.Commit());
    notes_.unknown_rows = writer_.unknown_rows();
    return notes_;
  }

 private:
  Status Copy(const ImportSequence& sequence) {
    const auto token_ids = static_cast<int64_t>(layers_ * ranks_);
    const bool whole = import_.layout == RawLayout::kLayerTokenK;
    if (whole && sequence.tokens > kMaxHeldIds / token_ids) {
      return Error{"a sequence of " + std::to_string(sequence.tokens) +
                       " tokens is too long for layout layer_token_k, at most " +
                       std::to_string(kMaxHeldIds / token_ids) + " fit",
                   import_.ids.path.string()};
    }
    const int64_t most = whole ? sequence.tokens : std::max<int64_t>(1, kBlockIds / token_ids);
    for (int64_t first = 0; first < sequence.tokens;) {
      const int64_t tokens = std::min(most, PhaseEnd(sequence, first) - first);
      SIM_RETURN_IF_ERROR(ReadBlock(static_cast<size_t>(tokens * token_ids)));
      if (!sequence.dropped) SIM_RETURN_IF_ERROR(AddBlock(sequence, first, tokens));
      first += tokens;
    }
    if (!sequence.dropped) writer_.Describe(NextSequence(), sequence.label);
    return Ok();
  }

  [[nodiscard]] RoutingPhase PhaseAt(const ImportSequence& sequence, int64_t token) const {
    if (!sequence.prompt_tokens) return import_.phase;
    return token < *sequence.prompt_tokens ? RoutingPhase::kPrefill : RoutingPhase::kDecode;
  }

  /// The token after the last one of `token`'s phase.
  [[nodiscard]] int64_t PhaseEnd(const ImportSequence& sequence, int64_t token) const {
    const int64_t prompt = sequence.prompt_tokens.value_or(sequence.tokens);
    return token < prompt ? prompt : sequence.tokens;
  }

  [[nodiscard]] SequenceId NextSequence() const {
    return SequenceId(static_cast<uint32_t>(notes_.sequences));
  }

  Status ReadBlock(size_t count) {
    SIM_RETURN_IF_ERROR(ids_.Read(count, block_));
    if (import_.layout == RawLayout::kLayerTokenK) Transpose(layers_, ranks_, block_, scratch_);
    if (!scores_) return Ok();
    SIM_RETURN_IF_ERROR(scores_->Read(count, raw_scores_));
    if (import_.layout == RawLayout::kLayerTokenK) {
      Transpose(layers_, ranks_, raw_scores_, scratch_);
    }
    if (import_.rank_by_score) RankByScore(ranks_, block_, raw_scores_);
    return Ok();
  }

  Status AddBlock(const ImportSequence& sequence, int64_t first, int64_t tokens) {
    if (import_.unknown_id) {
      std::replace(block_.begin(), block_.end(), *import_.unknown_id, kUnknownExpert);
    }
    chunk_.sequence = NextSequence();
    chunk_.phase = PhaseAt(sequence, first);
    chunk_.first_position = sequence.first_position + first;
    chunk_.tokens = tokens;
    SplitRanks(block_, chunk_.ids, chunk_.further_ids);
    scores_in_units_.resize(raw_scores_.size());
    for (size_t i = 0; i < raw_scores_.size(); ++i) {
      scores_in_units_[i] = static_cast<float>(raw_scores_[i] * import_.header.score_unit);
    }
    SplitRanks(scores_in_units_, chunk_.scores, chunk_.further_scores);
    Status added = writer_.Add(chunk_);
    if (added.ok() || !added.errors()[0].where.empty()) return added;
    const int64_t index = notes_.sequences + notes_.dropped_sequences;
    return Error{added.errors()[0].message, import_.ids.path.string() + ": sequence " +
                                                std::to_string(index) + ", chunk from its token " +
                                                std::to_string(first)};
  }

  /// Rows of all recorded ranks into the best top_k and the further ones. Takes `rows`' memory.
  template <class T>
  void SplitRanks(std::vector<T>& rows, std::vector<T>& best, std::vector<T>& further) const {
    further.clear();
    if (ranks_ == top_k_) return best.swap(rows);
    best.clear();
    for (auto row = rows.begin(); row != rows.end(); row += static_cast<std::ptrdiff_t>(ranks_)) {
      const auto cut = row + static_cast<std::ptrdiff_t>(top_k_);
      best.insert(best.end(), row, cut);
      further.insert(further.end(), cut, row + static_cast<std::ptrdiff_t>(ranks_));
    }
  }

  const RoutingImport& import_;
  RoutingWriter writer_;
  RawReader ids_;
  std::optional<RawReader> scores_;
  size_t layers_;
  size_t top_k_;
  size_t ranks_;  // of a row of the arrays
  RoutingImportNotes notes_;
  RoutingChunk chunk_;
  std::vector<uint16_t> block_, raw_scores_, scratch_;
  std::vector<float> scores_in_units_;
};

}  // namespace

Result<RoutingImportNotes> ImportRouting(const RoutingImport& import,
                                         const std::filesystem::path& trace,
                                         const ImportProgress& progress) {
  int64_t tokens = 0;
  for (const ImportSequence& sequence : import.sequences) tokens += sequence.tokens;
  const int64_t token_ids = static_cast<int64_t>(import.header.moe_layers.size()) *
                            (int64_t{import.header.top_k} + import.header.further_ranks);
  if (tokens > std::numeric_limits<int64_t>::max() / token_ids / 2) {
    return Error{"the sequences' " + std::to_string(tokens) + " tokens are more than can be",
                 import.ids.path.string()};
  }
  const int64_t values = tokens * token_ids;
  SIM_TRY(RawReader ids, RawReader::Open(import.ids, values));
  std::optional<RawReader> scores;
  if (import.scores) {
    SIM_TRY(RawReader opened, RawReader::Open(*import.scores, values));
    scores.emplace(std::move(opened));
  }
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(trace, import.header));
  return Importer(import, std::move(writer), std::move(ids), std::move(scores)).Run(progress);
}

}  // namespace moecast
