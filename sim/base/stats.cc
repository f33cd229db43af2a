#include "sim/base/stats.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"
#include "sim/base/interpolate.h"
#include "sim/base/quantile_functions.h"

namespace moecast {

double Mean(std::span<const double> samples) {
  SIM_CHECK(!samples.empty());
  double sum = 0;
  for (const double sample : samples) sum += sample;
  return sum / static_cast<double>(samples.size());
}

double StandardDeviation(std::span<const double> samples) {
  if (samples.size() < 2) return 0;
  const double mean = Mean(samples);
  double squares = 0;
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  return std::sqrt(squares / static_cast<double>(samples.size() - 1));
}

double Quantile(std::span<double> samples, double p) {
  auto unordered = samples.begin();  // every sample before it is in its final place or lower
  return InterpolatedQuantile(samples.size(), p, [&](uint64_t rank) {
    const auto nth = samples.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(unordered, nth, samples.end());
    unordered = nth;
    return *nth;
  });
}

Interval ConfidenceInterval(std::span<const double> samples, double confidence) {
  SIM_CHECK(confidence > 0 && confidence < 1);
  Interval interval = {.mean = Mean(samples), .half_width = 0, .samples = samples.size()};
  if (samples.size() < 2) return interval;
  const auto count = static_cast<double>(samples.size());
  const double t = StudentTQuantile(0.5 + confidence / 2, count - 1);
  interval.half_width = t * StandardDeviation(samples) / std::sqrt(count);
  return interval;
}

}  // namespace moecast
