#include "kernels/ops/rope/rope_table.h"

#include <cmath>

namespace moecast::kernels {

std::vector<double> InverseFrequencies(double base, int32_t rotary) {
  std::vector<double> frequencies;
  for (int32_t i = 0; i < rotary / 2; ++i) frequencies.push_back(std::pow(base, -2.0 * i / rotary));
  return frequencies;
}

std::vector<float> RopeTable(const std::vector<double>& inverse_frequencies, double scale,
                             int32_t positions) {
  std::vector<float> table;
  table.reserve(2 * inverse_frequencies.size() * static_cast<size_t>(positions));
  for (int32_t p = 0; p < positions; ++p) {
    for (const double f : inverse_frequencies)
      table.push_back(static_cast<float>(scale * std::cos(p * f)));
    for (const double f : inverse_frequencies)
      table.push_back(static_cast<float>(scale * std::sin(p * f)));
  }
  return table;
}

}  // namespace moecast::kernels
