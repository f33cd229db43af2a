#include "sim/metrics/recorder.h"

#include <algorithm>
#include <utility>

namespace moecast {
namespace {

constexpr size_t kRowsPerBatch = 4096;

void AddParts(const StepTime& time, Summary& totals) {
  totals.busy += Seconds(ToSeconds(time.total));
  totals.attention += time.attention;
  totals.experts += time.experts;
  totals.dense += time.dense;
  totals.collectives += time.collectives;
  totals.host += time.host;
  totals.cache_writes += time.cache_writes;
  totals.most_cache_writes = std::max(totals.most_cache_writes, time.cache_writes);
  for (size_t i = 0; i < totals.by_label.size(); ++i) totals.by_label[i] += time.by_label[i];
}

double PerStep(double sum, uint64_t steps) {
  return steps > 0 ? sum / static_cast<double>(steps) : 0.0;
}

}  // namespace

Recorder::Recorder(RecorderConfig config)
    : config_(std::move(config)),
      series_({.period = config_.sample_period, .max_samples = config_.max_samples}) {}

void Recorder::OnArrival(Time at) {
  series_.Advance(at, state_);
  if (totals_.arrived++ == 0 && config_.warmup_requests == 0) BeginWindow(at);
  ++series_.current().arrived;
  backlog_.OnArrival(state_.waiting);
}

void Recorder::OnStep(const StepRecord& step) {
  series_.Advance(step.end, state_);
  TimeSample& sample = series_.current();
  sample.output_tokens += step.tokens_emitted;
  sample.prefill_tokens += step.prefill_tokens;
  sample.preemptions += step.preemptions;
  ++sample.steps;
  ++totals_.steps;
  totals_.preemptions += static_cast<uint64_t>(step.preemptions);
  totals_.converted_tokens += static_cast<uint64_t>(step.converted_tokens);
  AddParts(step.time, totals_);
  if (!measuring()) return;
  ++measured_steps_;
  measured_decodes_ += static_cast<double>(step.decode_sequences);
  distinct_experts_ += step.distinct_experts;
  rank_imbalance_ += step.rank_imbalance;
}

void Recorder::OnInterTokenGap(Duration gap, uint64_t count) {
  if (count == 0 || !measuring()) return;
  if (gap != pending_gap_) {
    FlushGap();
    pending_gap_ = gap;
  }
  pending_gaps_ += count;
}

void Recorder::FlushGap() {
  if (pending_gaps_ > 0) latency_.itl.Add(ToSeconds(pending_gap_), pending_gaps_);
  pending_gaps_ = 0;
}

void Recorder::OnRequest(const RequestRecord& record) {
  const bool rejected = record.outcome == RequestOutcome::kRejectedTooLong;
  if (!rejected && record.input_tokens + record.output_tokens > config_.max_positions) {
    ++totals_.beyond_positions;
  }
  switch (record.outcome) {
    case RequestOutcome::kFinished:
      series_.Advance(record.finish, state_);
      ++series_.current().finished;
      if (measuring()) Measure(record);
      if (++finished_ == config_.warmup_requests) BeginWindow(record.finish);
      break;
    case RequestOutcome::kRejectedTooLong:
      ++totals_.rejected;
      break;
    case RequestOutcome::kUnfinished:
      ++totals_.unfinished;
      break;
  }
  if (config_.sink) Emit(record);
}

void Recorder::BeginWindow(Time at) {
  window_start_ = at;
  window_end_ = at;
  at_window_start_ = series_.integral();
  at_window_end_ = series_.integral();
}

void Recorder::Measure(const RequestRecord& record) {
  window_end_ = record.finish;
  at_window_end_ = series_.integral();
  ++totals_.measured;
  totals_.measured_input_tokens += static_cast<uint64_t>(record.input_tokens);
  totals_.measured_output_tokens += static_cast<uint64_t>(record.generated_tokens);
  const Duration decoding = record.e2e() - record.ttft();
  latency_.ttft.Add(ToSeconds(record.ttft()));
  latency_.e2e.Add(ToSeconds(record.e2e()));
  latency_.queue.Add(ToSeconds(record.scheduled - record.arrival));
  if (record.generated_tokens > 1) {
    latency_.tpot.Add(ToSeconds(decoding) / static_cast<double>(record.generated_tokens - 1));
  }
  if (config_.slo.any() && MeetsSlo(record, config_.slo)) ++good_;
}

void Recorder::Emit(const RequestRecord& record) {
  rows_.push_back(record);
  if (rows_.size() == kRowsPerBatch) Flush();
}

void Recorder::Flush() {
  if (!rows_.empty()) config_.sink(rows_);
  rows_.clear();
}

void Recorder::OnState(Time at, const ClusterState& state) {
  series_.Advance(at, state_);
  state_ = state;
}

void Recorder::FillRates(Summary& summary) const {
  const auto ns = static_cast<double>((window_end_ - window_start_).count());
  summary.window = Seconds(ns / kNsPerSecond);
  if (ns <= 0) return;
  const double seconds = summary.window.count();
  const auto output = static_cast<double>(summary.measured_output_tokens);
  const auto input = static_cast<double>(summary.measured_input_tokens);
  summary.request_throughput = static_cast<double>(summary.measured) / seconds;
  summary.output_throughput = output / seconds;
  summary.total_throughput = (input + output) / seconds;
  if (config_.slo.any()) summary.goodput = static_cast<double>(good_) / seconds;
  const StateIntegral over = at_window_end_ - at_window_start_;
  summary.mean_running = over.running / ns;
  summary.mean_waiting = over.waiting / ns;
  summary.mean_kv_used_ratio = over.kv_used_ratio / ns;
}

Summary Recorder::Finish(Time end) {
  series_.Finish(end, state_);
  FlushGap();
  Flush();
  Summary summary = totals_;
  summary.finished = finished_;
  FillRates(summary);
  summary.ttft = Summarise(latency_.ttft);
  summary.tpot = Summarise(latency_.tpot);
  summary.itl = Summarise(latency_.itl);
  summary.e2e = Summarise(latency_.e2e);
  summary.queue = Summarise(latency_.queue);
  summary.mean_decode_batch = PerStep(measured_decodes_, measured_steps_);
  summary.mean_distinct_experts = PerStep(distinct_experts_, measured_steps_);
  summary.mean_rank_imbalance = PerStep(rank_imbalance_, measured_steps_);
  summary.verdict = summary.measured > 0 ? backlog_.Judge() : Verdict::kNone;
  return summary;
}

}  // namespace moecast
