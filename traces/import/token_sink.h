// TokenSink: where importers of token-level captures put their rows. Numbers sequences, keeps the
// tally of the report, and leaves a complete trace on Commit or none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/result.h"
#include "traces/routing_writer.h"

namespace moecast {

class TokenSink {
 public:
  /// ERRORS: those of RoutingWriter::Create.
  static Result<TokenSink> Create(const std::filesystem::path& path, const RoutingHeader& header);

  /// What follows is of a new sequence. One without rows leaves nothing behind.
  void Begin(RoutingSequence label);
  /// Adds rows [token][MoE layer][k], and scores of the same shape or none. Takes the rows and
  /// leaves an old buffer, so that a loop needs no new memory.
  Status Add(RoutingPhase phase, int64_t first_position, std::vector<uint16_t>&& ids,
             std::vector<float> scores = {});
  /// Adds `tokens` rows that were not recorded.
  Status AddUnknown(RoutingPhase phase, int64_t first_position, int64_t tokens);
  /// ERRORS: no rows at all; those of RoutingWriter::Commit.
  Status Commit();

  [[nodiscard]] const RoutingHeader& header() const { return header_; }
  [[nodiscard]] int64_t token_ids() const { return token_ids_; }
  [[nodiscard]] int64_t sequences() const { return next_sequence_; }
  [[nodiscard]] int64_t prefill_tokens() const { return prefill_tokens_; }
  [[nodiscard]] int64_t decode_tokens() const { return decode_tokens_; }
  [[nodiscard]] uint64_t unknown_rows() const { return writer_.unknown_rows(); }

 private:
  TokenSink(RoutingWriter writer, const RoutingHeader& header);

  RoutingWriter writer_;
  RoutingHeader header_;
  int64_t token_ids_;
  int64_t next_sequence_ = 0;
  int64_t prefill_tokens_ = 0;
  int64_t decode_tokens_ = 0;
  std::optional<RoutingSequence> label_;  // of a sequence that has no rows yet
  RoutingChunk chunk_;
};

/// Tokens that importers handle at once: about a million ids.
int64_t BlockTokens(int64_t token_ids);

}  // namespace moecast
