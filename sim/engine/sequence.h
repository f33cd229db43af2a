// Sequence: a request's progress inside one scheduler, and what a finished step reports.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/ids.h"
#include "sim/base/units.h"
#include "sim/metrics/records.h"
#include "sim/replay/routing_source.h"

namespace moecast {

/// One request in the system.
struct Sequence {
  RequestRecord record{};  // generated_tokens is up to date whenever it is not decoding
  SequenceId routing{};    // trace sequence it replays
  Time last_token{};       // when it last emitted one, while it does not decode
  uint8_t kv_store = 0;    // which way of keeping it (KvUse::stores)

  /// Tokens whose keys and values the next token needs: the prompt and everything generated.
  [[nodiscard]] int64_t known_tokens() const {
    return record.input_tokens + record.generated_tokens;
  }
  /// KV tokens at its last step; the last generated token is never cached.
  [[nodiscard]] int64_t peak_tokens() const {
    return record.input_tokens + record.output_tokens - 1;
  }
};

/// What left a replica. Buffers are reused from step to step.
struct StepOutcome {
  std::vector<RequestRecord> records;  // finished; when abandoned: unfinished
  std::vector<Duration> late_gaps;     // gaps of sequences that had been preempted
  std::vector<RoutedSpan> executed;    // rows that were routed and will not be reported again

  void Clear() {
    records.clear();
    late_gaps.clear();
    executed.clear();
  }
};

}  // namespace moecast
