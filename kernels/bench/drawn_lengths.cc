#include "kernels/bench/drawn_lengths.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sim/base/rng.h"

namespace moecast::kernels {

std::vector<int32_t> LognormalLengths(int32_t sequences, int32_t mean, double deviation) {
  RngStream rng({.seed = 1}, "kernels/suite_attend");
  std::vector<int32_t> lengths;
  for (int32_t s = 0; s < sequences; ++s) {
    const double radius = std::sqrt(-2 * std::log(1 - rng.NextUniform()));
    const double normal = radius * std::cos(2 * std::numbers::pi * rng.NextUniform());
    const double length = mean * std::exp(deviation * (normal - deviation / 2));
    lengths.push_back(std::max(1, static_cast<int32_t>(length)));
  }
  return lengths;
}

}  // namespace moecast::kernels
