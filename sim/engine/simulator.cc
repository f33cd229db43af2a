#include "sim/engine/simulator.h"

#include <utility>

namespace moecast {
namespace {

/// A closed loop replaces a rejected request at the same instant. Were nothing ever to fit, time
/// would stand still; after this many in a row the place stays empty.
constexpr int64_t kMaxRejectionsInARow = 1 << 16;

}  // namespace

Simulator::Simulator(SimulatorInputs inputs)
    : cost_(std::move(inputs.cost)),
      routing_(std::move(inputs.routing)),
      requests_(std::move(inputs.requests)),
      router_(inputs.router),
      stop_(inputs.stop),
      recorder_(std::move(inputs.recorder)),
      request_latency_(inputs.request_latency),
      horizon_(stop_.horizon ? Time(*stop_.horizon) : Time::max()) {
  SIM_CHECK(inputs.replicas >= 1 && (stop_.requests || stop_.horizon));
  for (int64_t i = 0; i < inputs.replicas; ++i) {
    replicas_.emplace_back(Replica::Config{.id = ReplicaId(static_cast<uint32_t>(i)),
                                           .engine = inputs.engine,
                                           .parallelism = inputs.parallelism,
                                           .kv_tokens_per_group = inputs.kv_tokens_per_group,
                                           .sliding_window = inputs.sliding_window,
                                           .kv_use = inputs.kv_use,
                                           .moe_layers = inputs.moe_layers,
                                           .selection = inputs.selection});
    views_.push_back(replicas_.back().View());
    kv_tokens_total_ += views_.back().kv_tokens_total;
  }
  awake_.resize(replicas_.size());
  concurrency_ = std::visit([](const auto& s) { return s.closed_concurrency(); }, requests_);
}

Result<RunResult> Simulator::Run() {
  const ScopedSimContext context(context_);
  IssueFirstRequests();
  while (!queue_.empty() && queue_.NextTime() <= horizon_) {
    const Event event = queue_.Pop();
    SIM_CHECK(event.at >= now_);  // INV-2
    now_ = event.at;
    context_ = {.now_ns = now_.time_since_epoch().count(), .event = context_.event + 1};
    AddTo(fingerprint_, event);
    std::visit([this](const auto& body) { Handle(body); }, event.body);
    recorder_.OnState(now_, cluster_);
  }
  return Finish();
}

void Simulator::Handle(const FormBatchEvent& event) {
  Replica& replica = replicas_[event.replica.value()];
  const StepRecord& step = replica.StartStep(now_, cost_, routing_);
  queue_.Schedule(step.end, StepDoneEvent{event.replica});
  Refresh(event.replica);
}

void Simulator::Handle(const StepDoneEvent& event) {
  Replica& replica = replicas_[event.replica.value()];
  const StepRecord& step = replica.step();
  recorder_.OnStep(step);
  // A decode emitted its previous token when this step started: nothing comes between two steps.
  recorder_.OnInterTokenGap(step.end - step.start, static_cast<uint64_t>(step.decode_sequences));
  const StepOutcome& outcome = replica.FinishStep(routing_);
  for (const Duration gap : outcome.late_gaps) recorder_.OnInterTokenGap(gap, 1);
  for (const RequestRecord& record : outcome.records) {
    recorder_.OnRequest(record);
    if (concurrency_) IssueNextRequest();
  }
  awake_[event.replica.value()] = 0;
  if (replica.has_work()) Wake(event.replica);
  Refresh(event.replica);
}

void Simulator::Handle(const ArrivalEvent&) {
  if (concurrency_) {
    if (!PullRequest()) return;
    next_request_.arrival = now_ - request_latency_;
    Submit(next_request_);
    return;
  }
  Submit(next_request_);
  IssueNextRequest();
}

void Simulator::IssueFirstRequests() {
  const int64_t first = concurrency_.value_or(1);
  for (int64_t i = 0; i < first; ++i) IssueNextRequest();
}

void Simulator::IssueNextRequest() {
  if (source_ended_ || (stop_.requests && issued_ == *stop_.requests)) return;
  if (!concurrency_ && !PullRequest()) return;
  ++issued_;
  const Time arrival = concurrency_ ? now_ : next_request_.arrival;
  queue_.Schedule(arrival + request_latency_, ArrivalEvent{});
}

bool Simulator::PullRequest() {
  if (source_ended_) return false;
  source_ended_ = !std::visit([this](auto& s) { return s.Next(next_request_); }, requests_);
  return !source_ended_;
}

void Simulator::Submit(const Request& request) {
  recorder_.OnArrival(now_);
  Sequence sequence{.record = {.id = request.id,
                               .arrival = request.arrival,
                               .input_tokens = request.input_tokens,
                               .output_tokens = request.output_tokens}};
  if (!replicas_.front().CanEverFit(sequence)) {
    Reject(sequence.record);
    return;
  }
  rejected_in_a_row_ = 0;
  sequence.routing = std::visit([&](const auto& s) { return s.Bind(request.id); }, routing_);
  const RequestView view{.id = request.id, .input_tokens = request.input_tokens};
  const ReplicaId id = PickReplica(router_, view, views_);
  sequence.record.replica = id;
  replicas_[id.value()].Submit(sequence);
  Refresh(id);
  Wake(id);
}

void Simulator::Reject(RequestRecord record) {
  record.outcome = RequestOutcome::kRejectedTooLong;
  record.finish = now_;
  recorder_.OnRequest(record);
  if (concurrency_ && ++rejected_in_a_row_ < kMaxRejectionsInARow) IssueNextRequest();
}

void Simulator::Wake(ReplicaId id) {
  if (awake_[id.value()] != 0) return;
  awake_[id.value()] = 1;
  queue_.Schedule(now_, FormBatchEvent{id});
}

void Simulator::Refresh(ReplicaId id) {
  ReplicaView& view = views_[id.value()];
  const ReplicaView before = std::exchange(view, replicas_[id.value()].View());
  cluster_.running += view.running_requests - before.running_requests;
  cluster_.waiting += view.waiting_requests - before.waiting_requests;
  kv_tokens_used_ += view.kv_tokens_used - before.kv_tokens_used;
  cluster_.kv_used_ratio =
      static_cast<double>(kv_tokens_used_) / static_cast<double>(kv_tokens_total_);
}

Result<RunResult> Simulator::Finish() {
  SIM_RETURN_IF_ERROR(std::visit([](const auto& s) { return s.status(); }, requests_));
  const bool cut = !queue_.empty();
  const Time end = cut ? horizon_ : now_;
  for (Replica& replica : replicas_) {
    for (const RequestRecord& record : replica.Abandon(routing_).records) {
      recorder_.OnRequest(record);
    }
  }
  RunResult result;
  result.summary = recorder_.Finish(end);
  result.samples.assign(recorder_.samples().begin(), recorder_.samples().end());
  result.fingerprint = fingerprint_.value();
  result.events = context_.event;
  result.end = end;
  result.end_reason = cut             ? EndReason::kHorizon
                      : source_ended_ ? EndReason::kTraceEnded
                                      : EndReason::kDrained;
  result.requests = std::visit([](const auto& s) { return s.notes(); }, requests_);
  std::visit(
      [&result](const auto& source) {
        result.routing = source.notes();
        result.expert_totals.assign(source.totals().begin(), source.totals().end());
      },
      routing_);
  const Summary& summary = result.summary;
  SIM_CHECK(summary.arrived == summary.finished + summary.rejected + summary.unfinished);  // INV-1
  return result;
}

}  // namespace moecast
