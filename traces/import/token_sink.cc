#include "traces/import/token_sink.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moecast {

int64_t BlockTokens(int64_t token_ids) {
  constexpr int64_t kBlockIds = int64_t{1} << 20;
  return std::max<int64_t>(1, kBlockIds / std::max<int64_t>(1, token_ids));
}

TokenSink::TokenSink(RoutingWriter writer, const RoutingHeader& header)
    : writer_(std::move(writer)),
      header_(header),
      token_ids_(static_cast<int64_t>(header.moe_layers.size()) * header.top_k) {}

Result<TokenSink> TokenSink::Create(const std::filesystem::path& path,
                                    const RoutingHeader& header) {
  SIM_TRY(RoutingWriter writer, RoutingWriter::Create(path, header));
  return TokenSink(std::move(writer), header);
}

void TokenSink::Begin(RoutingSequence label) { label_ = std::move(label); }

Status TokenSink::Add(RoutingPhase phase, int64_t first_position, std::vector<uint16_t>&& ids,
                      std::vector<float> scores) {
  if (ids.empty()) return Ok();
  const bool is_new = label_.has_value();
  SIM_CHECK(is_new || next_sequence_ > 0);
  next_sequence_ += is_new ? 1 : 0;
  chunk_.sequence = SequenceId(static_cast<uint32_t>(next_sequence_ - 1));
  chunk_.phase = phase;
  chunk_.first_position = first_position;
  chunk_.tokens = std::ssize(ids) / token_ids_;
  chunk_.ids.swap(ids);
  chunk_.scores = std::move(scores);
  SIM_RETURN_IF_ERROR(writer_.Add(chunk_));
  if (is_new) writer_.Describe(chunk_.sequence, *std::exchange(label_, std::nullopt));
  (phase == RoutingPhase::kPrefill ? prefill_tokens_ : decode_tokens_) += chunk_.tokens;
  return Ok();
}

Status TokenSink::AddUnknown(RoutingPhase phase, int64_t first_position, int64_t tokens) {
  const int64_t most = BlockTokens(token_ids_);
  for (int64_t done = 0; done < tokens; done += most) {
    const int64_t count = std::min(most, tokens - done);
    std::vector<uint16_t> ids(static_cast<size_t>(count * token_ids_), kUnknownExpert);
    SIM_RETURN_IF_ERROR(
        Add(phase, first_position + done, std::move(ids),
            std::vector<float>(header_.has_scores ? static_cast<size_t>(count * token_ids_) : 0)));
  }
  return Ok();
}

Status TokenSink::Commit() {
  if (next_sequence_ == 0) return Error{"the capture has no routed tokens", header_.source};
  return writer_.Commit();
}

}  // namespace moecast
