// RequestThreads: which tokens of successive forward passes are of one request. SGLang's recorder
// keeps positions and the lengths of prefill segments, not the requests.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "traces/routing_chunk.h"

namespace moecast {

/// Rows of one request that came together: consecutive positions, consecutive rows.
struct ThreadPiece {
  RoutingPhase phase = RoutingPhase::kPrefill;
  int64_t first_position = 0;
  int64_t first_row = 0;
  int64_t rows = 0;
  friend bool operator==(const ThreadPiece&, const ThreadPiece&) = default;
};
/// In position order.
using RequestThread = std::vector<ThreadPiece>;

/// A prefill segment at position 0 begins a request; one further on, and every decode token, goes
/// on with the request that ended just before it in the latest earlier pass. Of several such
/// requests the first in batch order is taken and the choice counted as ambiguous.
class RequestThreads {
 public:
  /// Adds a pass whose tokens are the rows from `first_row`. Its first tokens are prefill segments
  /// of `prefill_lengths`, the others decode one token each.
  /// RETURNS: what contradicts itself, empty when nothing does.
  std::string AddPass(std::span<const int64_t> positions, std::span<const int64_t> prefill_lengths,
                      int64_t first_row);

  [[nodiscard]] const std::vector<RequestThread>& threads() const { return threads_; }
  [[nodiscard]] int64_t ambiguous_tokens() const { return ambiguous_tokens_; }
  /// Decode tokens of requests whose beginning was not recorded.
  [[nodiscard]] int64_t orphan_threads() const { return orphan_threads_; }

 private:
  /// A request that ended at some position.
  struct End {
    size_t thread = 0;
    int64_t pass = 0;
  };
  std::optional<size_t> TakeEnd(int64_t position, bool is_prefill);
  void Extend(std::optional<size_t> thread, const ThreadPiece& piece);

  std::vector<RequestThread> threads_;
  std::map<int64_t, std::vector<End>> ends_;  // by next position, in pass order
  int64_t pass_ = 0;
  int64_t ambiguous_tokens_ = 0;
  int64_t orphan_threads_ = 0;
};

}  // namespace moecast
