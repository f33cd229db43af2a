// How far samples are from a distribution known in closed form.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace moecast::test {

/// Kolmogorov-Smirnov statistic: the largest gap between the samples' empirical distribution and
/// `cdf`. Takes a copy because it sorts.
template <class Cdf>
double KolmogorovDistance(std::vector<double> samples, Cdf cdf) {
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  double distance = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const double expected = cdf(samples[i]);
    distance = std::max(distance, std::abs(expected - static_cast<double>(i) / count));
    distance = std::max(distance, std::abs(expected - static_cast<double>(i + 1) / count));
  }
  return distance;
}

/// The distance that `count` samples of the right distribution exceed once in a million times
/// (asymptotic law, first term: 2 exp(-2 count d^2) = 1e-6).
inline double KolmogorovLimit(size_t count) {
  return std::sqrt(std::log(2 / 1e-6) / (2 * static_cast<double>(count)));
}

}  // namespace moecast::test
