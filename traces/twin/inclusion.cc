#include "traces/twin/inclusion.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"

namespace moecast {

std::vector<double> InclusionOfWeights(std::span<const double> weights, int32_t k) {
  SIM_CHECK(k >= 1 && static_cast<size_t>(k) <= weights.size());
  if (static_cast<size_t>(k) == weights.size()) return std::vector<double>(weights.size(), 1);
  const auto sum_at = [&](double time) {
    double sum = 0;
    for (const double weight : weights) sum -= std::expm1(-weight * time);
    return sum;
  };
  constexpr int kHalvings = 60;
  const double largest = *std::max_element(weights.begin(), weights.end());
  double early = 0;
  double late = 1 / largest;
  while (sum_at(late) < k && late * largest < 0x1p60) late *= 2;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (early + late) / 2;
    (sum_at(middle) < k ? early : late) = middle;
  }
  std::vector<double> chances;
  for (const double weight : weights) chances.push_back(-std::expm1(-weight * late));
  return chances;
}

std::vector<double> WeightsOfInclusion(std::span<const double> chances) {
  std::vector<double> weights;
  for (const double chance : chances) weights.push_back(-std::log1p(-chance));
  return weights;
}

}  // namespace moecast
