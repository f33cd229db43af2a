// KernelTime: a predicted launch, with what it rests on; sums and comparisons.
#pragma once

#include <algorithm>

#include "sim/cost/error_band.h"
#include "sim/cost/label.h"

namespace moecast {

/// A predicted launch.
struct KernelTime {
  double seconds = 0;
  Label label = Label::kExtrapolated;
  ErrorBand band;
};

/// Two launches of one layer, whose errors are taken as fully correlated: half widths add.
/// REQUIRES: a sum above 0.
inline KernelTime Sum(const KernelTime& a, const KernelTime& b) {
  const double sum = a.seconds + b.seconds;
  const auto half = [&](double ErrorBand::*level) {
    return (a.seconds * (a.band.*level) + b.seconds * (b.band.*level)) / sum;
  };
  return {.seconds = sum,
          .label = std::max(a.label, b.label),
          .band = {.half80 = half(&ErrorBand::half80), .half95 = half(&ErrorBand::half95)}};
}

/// The better label wins, then the faster.
inline bool IsBetter(const KernelTime& a, const KernelTime& b) {
  return a.label < b.label || (a.label == b.label && a.seconds < b.seconds);
}

/// Whether `a` is the faster even where both are off by their 80 % half widths.
inline bool IsSurelyFaster(const KernelTime& a, const KernelTime& b) {
  return a.seconds * (1 + a.band.half80) < b.seconds * (1 - b.band.half80);
}

}  // namespace moecast
