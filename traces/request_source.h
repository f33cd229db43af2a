// RequestSource: requests in non-decreasing arrival time, pulled one at a time, never loaded whole.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "sim/base/result.h"
#include "sim/base/rng.h"
#include "traces/request.h"
#include "traces/workload.h"

namespace moecast {

/// What a source left out, for the report: never silent.
struct RequestSourceNotes {
  uint64_t rows_read = 0;
  uint64_t rows_without_output = 0;  // failed requests (response length 0), skipped
  uint64_t rows_with_prefix = 0;     // carry block hashes
};

/// A stream of requests. Memory is constant in the trace length.
class RequestSource {
 public:
  /// Opens files and reads the first rows. ERRORS: missing or malformed file (file:line: field,
  /// value, what is allowed), negative or unsorted time, zero tokens, NaN.
  static Result<RequestSource> Open(const WorkloadSpec& spec, Seed seed);
  RequestSource(RequestSource&&) noexcept;
  RequestSource& operator=(RequestSource&&) noexcept;
  ~RequestSource();

  /// Fills `request` and returns true, or returns false for ever after: at the end of the trace or
  /// at a malformed row (see status()). Ids count from 0. Synthetic sources never end.
  /// With a closed loop, `arrival` is Time{}: the engine sets it when it issues the request.
  bool Next(Request& request);
  /// Ok, or why Next stopped early. The run that pulled from it must be discarded on an error.
  [[nodiscard]] Status status() const;
  /// Requests to keep in flight, for a closed loop.
  [[nodiscard]] std::optional<int64_t> closed_concurrency() const;
  [[nodiscard]] const RequestSourceNotes& notes() const;

 private:
  struct State;
  explicit RequestSource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace moecast
