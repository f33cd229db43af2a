// Rows the simulation emits; plain facts, no printing.
#pragma once

#include <cstdint>

#include "sim/base/ids.h"
#include "sim/base/units.h"

namespace moecast {

enum class RequestOutcome { kFinished, kRejectedTooLong, kUnfinished };

/// One request, written once when it leaves the system or when the run ends.
struct RequestRecord {
  RequestId id{};
  ReplicaId replica{};
  RequestOutcome outcome = RequestOutcome::kUnfinished;
  Time arrival{};
  Time scheduled{};  // first step that ran any of its tokens
  Time first_token{};
  Time finish{};
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;     // asked for
  int64_t generated_tokens = 0;  // produced so far
  int64_t preemptions = 0;

  [[nodiscard]] Duration ttft() const { return first_token - arrival; }
  [[nodiscard]] Duration e2e() const { return finish - arrival; }
  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};

/// Totals over one sampling period of the whole cluster.
struct TimeSample {
  Time at{};                    // end of the period
  double running_requests = 0;  // time average
  double waiting_requests = 0;  // time average
  double kv_used_ratio = 0;     // time average over replicas
  int64_t arrived = 0;          // during the period
  int64_t finished = 0;
  int64_t output_tokens = 0;
  int64_t prefill_tokens = 0;
  int64_t steps = 0;
  int64_t preemptions = 0;
};

}  // namespace moecast
