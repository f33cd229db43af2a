// What the log-normal laws of routing share: normal quantiles of ranks, and a shuffle.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "sim/base/quantile_functions.h"
#include "sim/base/rng.h"

namespace moecast {

/// Standard normal quantiles at (rank + 1/2) / count, ascending.
inline std::vector<double> NormalRankQuantiles(size_t count) {
  std::vector<double> quantiles(count);
  for (size_t rank = 0; rank < count; ++rank) {
    quantiles[rank] =
        NormalQuantile((static_cast<double>(rank) + 1.0 / 2.0) / static_cast<double>(count));
  }
  return quantiles;
}

/// Fisher-Yates.
template <class T>
void Shuffle(std::span<T> values, RngStream& rng) {
  for (size_t last = values.size(); last > 1; --last) {
    std::swap(values[last - 1], values[rng.NextBelow(last)]);
  }
}
template <class T>
void Shuffle(std::vector<T>& values, RngStream& rng) {
  Shuffle(std::span<T>(values), rng);
}

}  // namespace moecast
