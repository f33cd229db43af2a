// TraceStream: a captured request trace of any format, checked for order and placed in simulated
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "sim/base/result.h"
#include "traces/request.h"
#include "traces/request_csv.h"
#include "traces/request_jsonl.h"
#include "traces/request_source.h"
#include "traces/workload.h"

namespace moecast {

class TraceStream {
 public:
  /// ERRORS: as the reader of the format; speedup, concurrency or block size out of range.
  static Result<TraceStream> Open(const TraceWorkload& workload);

  /// The next request that did not fail, everything but its id; false at the end.
  /// ERRORS: as the reader of the format; a row earlier than the one before it; an arrival after
  /// kMaxArrival once the speedup has been applied.
  Result<bool> Next(Request& request);
  [[nodiscard]] const RequestSourceNotes& notes() const { return notes_; }

 private:
  using Reader = std::variant<CsvRequestReader, MooncakeReader>;
  TraceStream(const TraceWorkload& workload, Reader reader);
  static Result<Reader> OpenReader(const TraceWorkload& workload);
  Status PlaceInTime(Request& request);
  [[nodiscard]] const LineReader& lines() const;

  Reader reader_;
  double speedup_;
  bool closed_;
  bool starts_at_first_row_;
  std::optional<Time> last_;  // arrival of the row before, as the trace has it
  Duration origin_{};         // what the trace calls the time 0 of the run
  RequestSourceNotes notes_;
};

}  // namespace moecast
