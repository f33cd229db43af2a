// The one definition of a quantile between order statistics.
#pragma once

#include <cstdint>

#include "sim/base/check.h"

namespace moecast {

/// The p-quantile of `count` ordered samples, where order_statistic(rank) is the sample of that
/// rank (from 0): linear between the two ranks around (count - 1) p, rounded as NumPy does so that
/// figures agree to the last bit. REQUIRES: count > 0, p in [0, 1].
template <class OrderStatistic>
double InterpolatedQuantile(uint64_t count, double p, OrderStatistic order_statistic) {
  SIM_CHECK(count > 0 && p >= 0 && p <= 1);
  const double position = static_cast<double>(count - 1) * p;
  const auto rank = static_cast<uint64_t>(position);
  const double fraction = position - static_cast<double>(rank);
  const double low = order_statistic(rank);
  if (fraction == 0) return low;
  const double high = order_statistic(rank + 1);
  const double step = high - low;
  return fraction < 0.5 ? low + step * fraction : high - step * (1 - fraction);
}

}  // namespace moecast
