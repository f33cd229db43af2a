#include "sim/metrics/time_series.h"

#include "sim/base/check.h"

namespace moecast {
namespace {

/// Two periods of equal length as one.
TimeSample Merge(const TimeSample& a, const TimeSample& b) {
  return {.at = b.at,
          .running_requests = (a.running_requests + b.running_requests) / 2.0,
          .waiting_requests = (a.waiting_requests + b.waiting_requests) / 2.0,
          .kv_used_ratio = (a.kv_used_ratio + b.kv_used_ratio) / 2.0,
          .arrived = a.arrived + b.arrived,
          .finished = a.finished + b.finished,
          .output_tokens = a.output_tokens + b.output_tokens,
          .prefill_tokens = a.prefill_tokens + b.prefill_tokens,
          .steps = a.steps + b.steps,
          .preemptions = a.preemptions + b.preemptions};
}

}  // namespace

void StateIntegral::Add(const ClusterState& state, Duration duration) {
  const auto ns = static_cast<double>(duration.count());
  running += static_cast<double>(state.running) * ns;
  waiting += static_cast<double>(state.waiting) * ns;
  kv_used_ratio += state.kv_used_ratio * ns;
}

TimeSeries::TimeSeries(Config config) : config_(config) {
  SIM_CHECK(config.period > Duration(0) && config.max_samples >= 2 && config.max_samples % 2 == 0);
}

void TimeSeries::Advance(Time at, const ClusterState& state) {
  if (at == now_) return;
  while (at >= period_start_ + config_.period) {
    const Time end = period_start_ + config_.period;
    integral_.Add(state, end - now_);
    now_ = end;
    ClosePeriod(end);
    if (samples_.size() == config_.max_samples) MergeNeighbours();
  }
  integral_.Add(state, at - now_);
  now_ = at;
}

void TimeSeries::ClosePeriod(Time end) {
  const auto ns = static_cast<double>((end - period_start_).count());
  const StateIntegral over = integral_ - at_period_start_;
  current_.at = end;
  current_.running_requests = over.running / ns;
  current_.waiting_requests = over.waiting / ns;
  current_.kv_used_ratio = over.kv_used_ratio / ns;
  samples_.push_back(current_);
  current_ = {};
  period_start_ = end;
  at_period_start_ = integral_;
}

void TimeSeries::MergeNeighbours() {
  const size_t pairs = samples_.size() / 2;
  for (size_t i = 0; i < pairs; ++i) samples_[i] = Merge(samples_[2 * i], samples_[2 * i + 1]);
  samples_.resize(pairs);
  config_.period *= 2;
}

void TimeSeries::Finish(Time end, const ClusterState& state) {
  Advance(end, state);
  if (end > period_start_) ClosePeriod(end);
}

}  // namespace moecast
