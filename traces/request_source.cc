#include "traces/request_source.h"

#include <utility>
#include <variant>

#include "traces/arrivals.h"
#include "traces/lengths.h"
#include "traces/request_trace.h"

namespace moecast {

struct SyntheticStream {
  ArrivalProcess arrivals;
  LengthSampler lengths;
};

using RequestStream = std::variant<SyntheticStream, TraceStream>;

struct RequestSource::State {
  explicit State(RequestStream opened) : stream(std::move(opened)) {}

  RequestStream stream;
  std::optional<int64_t> closed_concurrency;
  std::optional<Request> first;  // read by Open, not yet handed out
  uint64_t next_id = 0;
  bool ended = false;
  Errors errors;
  RequestSourceNotes nothing_left_out;

  bool Pull(SyntheticStream& synthetic, Request& request);
  bool Pull(TraceStream& trace, Request& request);
};

bool RequestSource::State::Pull(SyntheticStream& synthetic, Request& request) {
  const auto arrival = synthetic.arrivals.Next();
  if (!arrival) {
    errors = {
        {.message = "request " + std::to_string(next_id) + " arrives more than 4e9 s after time 0",
         .where = "arrivals"}};
    return false;
  }
  const RequestLengths lengths = synthetic.lengths.Sample(next_id);
  request.arrival = *arrival;
  request.input_tokens = lengths.input_tokens;
  request.output_tokens = lengths.output_tokens;
  request.prefix_blocks.clear();
  request.prefix_block_tokens = 0;
  return true;
}

bool RequestSource::State::Pull(TraceStream& trace, Request& request) {
  const auto more = trace.Next(request);
  if (!more.ok()) errors = more.errors();
  return more.ok() && *more;
}

namespace {

Result<RequestStream> OpenStream(const SyntheticWorkload& workload, Seed seed) {
  auto arrivals = ArrivalProcess::Make(workload.arrivals, seed);
  auto lengths = LengthSampler::Make(workload, seed);
  Errors errors;
  if (!arrivals.ok()) errors = arrivals.errors();
  if (!lengths.ok()) errors.insert(errors.end(), lengths.errors().begin(), lengths.errors().end());
  if (!errors.empty()) return errors;
  return RequestStream(
      SyntheticStream{.arrivals = *arrivals, .lengths = std::move(lengths).value()});
}

Result<RequestStream> OpenStream(const TraceWorkload& workload, Seed /*seed*/) {
  SIM_TRY(auto trace, TraceStream::Open(workload));
  return RequestStream(std::move(trace));
}

std::optional<int64_t> Concurrency(const WorkloadSpec& spec) {
  if (const auto* const trace = std::get_if<TraceWorkload>(&spec)) return trace->closed_concurrency;
  const auto* const loop = std::get_if<ClosedLoop>(&std::get<SyntheticWorkload>(spec).arrivals);
  return loop == nullptr ? std::nullopt : std::optional(loop->concurrency);
}

}  // namespace

RequestSource::RequestSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
RequestSource::RequestSource(RequestSource&&) noexcept = default;
RequestSource& RequestSource::operator=(RequestSource&&) noexcept = default;
RequestSource::~RequestSource() = default;

Result<RequestSource> RequestSource::Open(const WorkloadSpec& spec, Seed seed) {
  SIM_TRY(auto stream,
          std::visit([&](const auto& workload) { return OpenStream(workload, seed); }, spec));
  auto state = std::make_unique<State>(std::move(stream));
  state->closed_concurrency = Concurrency(spec);
  RequestSource source(std::move(state));
  Request first;
  if (source.Next(first)) {
    source.state_->first = std::move(first);
    return source;
  }
  SIM_RETURN_IF_ERROR(source.status());
  const auto& path = std::get<TraceWorkload>(spec).path;
  return Error{.message = "has no request with output; expected at least one",
               .where = path.string()};
}

bool RequestSource::Next(Request& request) {
  State& state = *state_;
  if (state.first) {
    request = std::move(*state.first);
    state.first.reset();
    return true;
  }
  if (state.ended) return false;
  state.ended =
      !std::visit([&](auto& stream) { return state.Pull(stream, request); }, state.stream);
  if (state.ended) return false;
  request.id = RequestId(state.next_id++);
  return true;
}

Status RequestSource::status() const {
  if (state_->errors.empty()) return Ok();
  return state_->errors;
}

std::optional<int64_t> RequestSource::closed_concurrency() const {
  return state_->closed_concurrency;
}

const RequestSourceNotes& RequestSource::notes() const {
  const auto* const trace = std::get_if<TraceStream>(&state_->stream);
  return trace == nullptr ? state_->nothing_left_out : trace->notes();
}

}  // namespace moecast
