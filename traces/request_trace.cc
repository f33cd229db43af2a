#include "traces/request_trace.h"

#include <cmath>
#include <string>
#include <utility>

#include "sim/base/text.h"

namespace moecast {
namespace {

Status CheckSpec(const TraceWorkload& workload) {
  Errors errors;
  if (!(workload.speedup > 0 && std::isfinite(workload.speedup))) {
    errors.push_back(
        {.message = "is " + ShortestDouble(workload.speedup) + "; expected a finite number above 0",
         .where = "speedup"});
  }
  if (workload.closed_concurrency.value_or(1) < 1) {
    errors.push_back({.message = "is " + std::to_string(*workload.closed_concurrency) +
                                 "; expected a whole number of at least 1",
                      .where = "closed_concurrency"});
  }
  if (workload.prefix_block_tokens < 1 || workload.prefix_block_tokens > kMaxRequestTokens) {
    errors.push_back({.message = "is " + std::to_string(workload.prefix_block_tokens) +
                                 "; expected a whole number from 1 to " +
                                 std::to_string(kMaxRequestTokens),
                      .where = "prefix_block_tokens"});
  }
  if (!errors.empty()) return errors;
  return Ok();
}

}  // namespace

TraceStream::TraceStream(const TraceWorkload& workload, Reader reader)
    : reader_(std::move(reader)),
      speedup_(workload.speedup),
      closed_(workload.closed_concurrency.has_value()),
      starts_at_first_row_(false) {
  if (const auto* const csv = std::get_if<CsvRequestReader>(&reader_)) {
    starts_at_first_row_ = csv->starts_at_first_row();
  }
}

Result<TraceStream::Reader> TraceStream::OpenReader(const TraceWorkload& workload) {
  if (workload.format == RequestTraceFormat::kMooncakeJsonl) {
    SIM_TRY(auto reader, MooncakeReader::Open(workload.path, workload.prefix_block_tokens));
    return Reader(std::move(reader));
  }
  const bool arrival_required = !workload.closed_concurrency.has_value();
  SIM_TRY(auto reader,
          CsvRequestReader::Open(workload.path, CsvLayoutOf(workload.format), arrival_required));
  return Reader(std::move(reader));
}

Result<TraceStream> TraceStream::Open(const TraceWorkload& workload) {
  SIM_RETURN_IF_ERROR(CheckSpec(workload));
  SIM_TRY(auto reader, OpenReader(workload));
  return TraceStream(workload, std::move(reader));
}

const LineReader& TraceStream::lines() const {
  return std::visit([](const auto& reader) -> const LineReader& { return reader.lines(); },
                    reader_);
}

Status TraceStream::PlaceInTime(Request& request) {
  if (last_ && request.arrival < *last_) {
    const double back_s = ToSeconds(*last_ - request.arrival);
    return lines().LineError("arrives " + ShortestDouble(back_s) +
                             " s before the row above it; rows must be in order of arrival");
  }
  if (!last_ && starts_at_first_row_) origin_ = request.arrival.time_since_epoch();
  last_ = request.arrival;
  if (closed_) {
    request.arrival = Time{};
    return Ok();
  }
  request.arrival -= origin_;
  if (speedup_ != 1) {
    // Rounding keeps the order, so equal and increasing times stay so.
    const double scaled =
        static_cast<double>(request.arrival.time_since_epoch().count()) / speedup_;
    const double limit = static_cast<double>(kMaxArrival.time_since_epoch().count());
    request.arrival = scaled <= limit ? Time{Duration{std::llround(scaled)}} : Time::max();
  }
  if (request.arrival <= kMaxArrival) return Ok();
  return lines().LineError("arrives more than 4e9 s after time 0, speedup " +
                           ShortestDouble(speedup_) + " applied");
}

Result<bool> TraceStream::Next(Request& request) {
  do {
    SIM_TRY(const bool more,
            std::visit([&](auto& reader) { return reader.Next(request); }, reader_));
    if (!more) return false;
    ++notes_.rows_read;
    SIM_RETURN_IF_ERROR(PlaceInTime(request));
    if (request.output_tokens == 0) ++notes_.rows_without_output;
  } while (request.output_tokens == 0);
  if (!request.prefix_blocks.empty()) ++notes_.rows_with_prefix;
  return true;
}

}  // namespace moecast
