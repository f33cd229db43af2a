// StoppingRule: when a row has enough samples. Pure arithmetic over the samples so far.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace moecast::kernels {

/// Order statistics of one row's samples, in the samples' unit.
struct SampleSummary {
  double min = 0;
  double p05 = 0;
  double p25 = 0;
  double median = 0;
  double p75 = 0;
  double p95 = 0;
  double relative_error = 0;  // standard error of the mean over the mean
  [[nodiscard]] double iqr() const { return p75 - p25; }
};

/// REQUIRES: not empty, all positive. COST: sorts a copy.
SampleSummary Summarise(std::span<const double> samples);

/// A row is quiet enough when its interquartile range or the standard error of its mean is small
/// beside the sample; otherwise it goes on to a limit and says so.
struct StoppingRule {
  size_t min_samples = 30;
  size_t max_samples = 120;
  double max_iqr_ratio = 0.01;        // of the median
  double max_relative_error = 0.002;  // of the mean
  double max_seconds = 0.5;           // of device time spent on the row, once min_samples are kept
};

enum class StopReason {
  kGoOn,
  kQuiet,        // a noise bound holds
  kSampleLimit,  // still noisy at max_samples
  kTimeLimit,    // still noisy after max_seconds
};
std::string_view ToString(StopReason reason);

/// `seconds` is the device time the row has taken, discarded samples included.
StopReason Decide(const StoppingRule& rule, std::span<const double> samples, double seconds);

}  // namespace moecast::kernels
