// Summary: the figures of one run, with vLLM's definitions. docs/model/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "sim/base/stats.h"
#include "sim/base/units.h"
#include "sim/cost/step_cost.h"
#include "sim/metrics/records.h"

namespace moecast {

/// A goodput request meets every bound that is set.
struct Slo {
  std::optional<Duration> ttft;
  std::optional<Duration> tpot;
  std::optional<Duration> e2e;
  [[nodiscard]] bool any() const { return ttft || tpot || e2e; }
};

/// True when `record`, of a finished request, meets every bound that is set; the TPOT bound does
/// not apply to a single output token. Integer arithmetic: no rounding at the bound.
bool MeetsSlo(const RequestRecord& record, const Slo& slo);

/// STABLE: the queue does not grow. BACKLOGGED: a queue formed that the run did not clear.
/// OVERLOADED: work arrives faster than it is served throughout. NONE: no request was measured, so
/// there is no forecast to judge. From best to worst. docs/model/metrics.md, "Verdict".
enum class Verdict { kStable, kBacklogged, kOverloaded, kNone };

/// Latency figures in seconds over requests finished in the measured window.
struct Latency {
  double mean = 0, median = 0, std = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
  uint64_t count = 0;
  bool exact = true;  // false: histogram quantiles (error <= 2^-11 relative)
};
Latency Summarise(const SampleSet& samples);

/// All rates are over the measured window: from the end of warm-up to the last measured event.
struct Summary {
  Seconds window;  // length of the measured window
  uint64_t arrived = 0, finished = 0, rejected = 0, unfinished = 0;  // whole run (INV-1)
  uint64_t beyond_positions = 0;  // not rejected, though longer than the model's longest sequence
  uint64_t measured = 0;          // finished requests in the window
  uint64_t measured_input_tokens = 0, measured_output_tokens = 0;
  double request_throughput = 0;  // requests/s
  double output_throughput = 0;   // generated tokens/s
  double total_throughput = 0;    // input + output tokens/s
  std::optional<double> goodput;  // requests/s that meet the SLO; absent without SLO
  Latency ttft, tpot, itl, e2e, queue;
  double mean_running = 0, mean_waiting = 0, mean_kv_used_ratio = 0;
  double mean_decode_batch = 0;
  uint64_t steps = 0, preemptions = 0;
  Seconds busy;  // sum of step times over replicas, whole run
  /// Sum of step parts over the whole run, and by label.
  Seconds attention, experts, dense, collectives, host;
  Seconds cache_writes, most_cache_writes;  // of attention; sum, and of one step
  uint64_t converted_tokens = 0;            // rewritten under memory pressure
  std::array<Seconds, kLabelCount> by_label{};
  double mean_distinct_experts = 0;  // per MoE layer and step over all ranks
  double mean_rank_imbalance = 0;    // mean over steps and layers of max rank A / mean rank A
  Verdict verdict = Verdict::kStable;
};

}  // namespace moecast
