#include "kernels/harness/stopping_rule.h"

#include <cmath>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/stats.h"

namespace moecast::kernels {

SampleSummary Summarise(std::span<const double> samples) {
  SIM_CHECK(!samples.empty());
  std::vector<double> sorted(samples.begin(), samples.end());
  SampleSummary summary{
      .min = Quantile(sorted, 0),
      .p05 = Quantile(sorted, 0.05),
      .p25 = Quantile(sorted, 0.25),
      .median = Quantile(sorted, 0.5),
      .p75 = Quantile(sorted, 0.75),
      .p95 = Quantile(sorted, 0.95),
  };
  const auto count = static_cast<double>(samples.size());
  summary.relative_error = StandardDeviation(samples) / std::sqrt(count) / Mean(samples);
  return summary;
}

std::string_view ToString(StopReason reason) {
  switch (reason) {
    case StopReason::kGoOn:
      return "go_on";
    case StopReason::kQuiet:
      return "quiet";
    case StopReason::kSampleLimit:
      return "sample_limit";
    case StopReason::kTimeLimit:
      return "time_limit";
  }
  return "";
}

StopReason Decide(const StoppingRule& rule, std::span<const double> samples, double seconds) {
  if (samples.size() < rule.min_samples) return StopReason::kGoOn;
  const SampleSummary summary = Summarise(samples);
  if (summary.iqr() <= rule.max_iqr_ratio * summary.median) return StopReason::kQuiet;
  if (summary.relative_error <= rule.max_relative_error) return StopReason::kQuiet;
  if (samples.size() >= rule.max_samples) return StopReason::kSampleLimit;
  if (seconds >= rule.max_seconds) return StopReason::kTimeLimit;
  return StopReason::kGoOn;
}

}  // namespace moecast::kernels
