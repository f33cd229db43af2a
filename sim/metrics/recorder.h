// Recorder: receives finished rows in simulated-time order and keeps what the summary needs. It has
// no influence on the run. Memory is bounded: full rows leave through a sink in batches.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sim/base/stats.h"
#include "sim/metrics/records.h"
#include "sim/metrics/summary.h"

namespace moecast {

struct RecorderConfig {
  Slo slo;
  uint64_t warmup_requests = 0;   // the first N finished requests are not measured
  Duration sample_period{1'000'000'000};  // doubles whenever more than max_samples rows would be kept
  size_t max_samples = 2048;
  /// Receives request rows in finish order, in batches; empty: rows are dropped after summarising.
  std::function<void(std::span<const RequestRecord>)> sink;
};

/// What the simulator tells about one executed step.
struct StepRecord {
  Time start;
  Time end;
  ReplicaId replica;
  StepTime time;
  int64_t decode_sequences = 0;
  int64_t prefill_tokens = 0;
  int64_t tokens_emitted = 0;
  double distinct_experts = 0;    // mean over MoE layers, sum over ranks; 0 for dense models
  double rank_imbalance = 0;      // mean over MoE layers of max/mean assignments over ranks
};

/// State of the cluster after an event, for time averages.
struct ClusterState {
  int64_t running = 0;
  int64_t waiting = 0;
  double kv_used_ratio = 0;
};

class Recorder {
 public:
  explicit Recorder(RecorderConfig config);

  void OnArrival(Time at);
  void OnStep(const StepRecord& step);
  /// `count` sequences emitted a token `gap` after their previous one.
  void OnInterTokenGap(Duration gap, uint64_t count);
  void OnRequest(const RequestRecord& record);
  void OnState(Time at, const ClusterState& state);
  void OnPreemption();

  /// Flushes the sink and computes every figure. Call once, after the last row.
  Summary Finish(Time end);
  [[nodiscard]] std::span<const TimeSample> samples() const { return samples_; }

 private:
  RecorderConfig config_;
  std::vector<TimeSample> samples_;
};

}  // namespace moecast
