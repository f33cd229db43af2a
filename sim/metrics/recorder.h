// Recorder: receives finished rows in simulated-time order and keeps what the summary needs. It has
// no influence on the run. Memory is bounded: full rows leave through a sink in batches.
// Definitions of every figure: docs/model/metrics.md.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "sim/base/stats.h"
#include "sim/metrics/backlog.h"
#include "sim/metrics/records.h"
#include "sim/metrics/summary.h"
#include "sim/metrics/time_series.h"

namespace moecast {

struct RecorderConfig {
  Slo slo;
  uint64_t warmup_requests = 0;  // the first N finished requests are not measured
  int64_t max_positions = std::numeric_limits<int64_t>::max();  // longer requests are counted
  Duration sample_period{
      1'000'000'000};  // doubles whenever more than max_samples rows would be kept
  size_t max_samples = 2048;
  /// Receives request rows in finish order, in batches; empty: rows are dropped after summarising.
  std::function<void(std::span<const RequestRecord>)> sink;
};

/// What the simulator tells about one executed step.
struct StepRecord {
  Time start{};
  Time end{};
  ReplicaId replica{};
  StepTime time{};
  int64_t decode_sequences = 0;
  int64_t prefill_tokens = 0;
  int64_t tokens_emitted = 0;
  int64_t preemptions = 0;       // made while forming the step
  int64_t converted_tokens = 0;  // rewritten for another KV store
  double distinct_experts = 0;   // mean over MoE layers, sum over ranks; 0 for dense models
  double rank_imbalance = 0;     // mean over MoE layers of max/mean assignments over ranks
};

class Recorder {
 public:
  explicit Recorder(RecorderConfig config);

  /// A request reached the router. REQUIRES: called before OnState of the same instant.
  void OnArrival(Time at);
  /// A step ended.
  void OnStep(const StepRecord& step);
  /// `count` sequences emitted a token `gap` after their previous one.
  void OnInterTokenGap(Duration gap, uint64_t count);
  /// A request left, or the run ended with it in the system.
  void OnRequest(const RequestRecord& record);
  /// The cluster's state from `at` on.
  void OnState(Time at, const ClusterState& state);

  /// Flushes the sink and computes every figure. Call once, after the last row.
  Summary Finish(Time end);
  [[nodiscard]] std::span<const TimeSample> samples() const { return series_.samples(); }

 private:
  /// Exact sets of the latency figures, in seconds.
  struct LatencySets {
    SampleSet ttft, tpot, itl, e2e, queue;
  };

  [[nodiscard]] bool measuring() const { return finished_ >= config_.warmup_requests; }
  void BeginWindow(Time at);
  void Measure(const RequestRecord& record);
  void FlushGap();
  void Emit(const RequestRecord& record);
  void Flush();
  void FillRates(Summary& summary) const;

  RecorderConfig config_;
  TimeSeries series_;
  Backlog backlog_;
  LatencySets latency_;
  Summary totals_;  // whole-run counts and sums, and the window's counts
  ClusterState state_;
  uint64_t finished_ = 0;
  uint64_t good_ = 0;  // measured requests that met the SLO
  Time window_start_;
  Time window_end_;  // last measured finish
  StateIntegral at_window_start_;
  StateIntegral at_window_end_;
  Duration pending_gap_{0};  // equal gaps in a row become one sample
  uint64_t pending_gaps_ = 0;
  uint64_t measured_steps_ = 0;
  double measured_decodes_ = 0;  // sum over measured steps
  double distinct_experts_ = 0;
  double rank_imbalance_ = 0;
  std::vector<RequestRecord> rows_;  // not yet given to the sink
};

}  // namespace moecast
