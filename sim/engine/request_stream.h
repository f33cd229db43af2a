// RequestStream: what the simulator pulls requests from: a workload or a list held in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "sim/base/result.h"
#include "traces/request.h"
#include "traces/request_source.h"

namespace moecast {

/// Requests given one by one; the contract of RequestSource. REQUIRES: arrivals do not decrease.
struct RequestList {
  std::vector<Request> requests;
  std::optional<int64_t> concurrency{};  // closed loop: arrivals are ignored
  size_t next = 0;

  bool Next(Request& request) {
    if (next == requests.size()) return false;
    request = requests[next++];
    return true;
  }
  [[nodiscard]] static Status status() { return Ok(); }
  [[nodiscard]] std::optional<int64_t> closed_concurrency() const { return concurrency; }
  [[nodiscard]] RequestSourceNotes notes() const { return {.rows_read = next}; }
};

using RequestStream = std::variant<RequestList, RequestSource>;

}  // namespace moecast
