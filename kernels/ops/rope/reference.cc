#include "kernels/ops/rope/reference.h"

#include <cmath>

#include "sim/base/check.h"

namespace moecast::kernels::reference {

Eigen::MatrixXd Rope(const RopeShape& shape, int32_t count, const std::vector<int32_t>& positions,
                     const std::vector<double>& inverse_frequencies, double scale,
                     const Eigen::MatrixXd& values) {
  SIM_CHECK(values.rows() == static_cast<Eigen::Index>(shape.tokens) * count);
  SIM_CHECK(inverse_frequencies.size() == static_cast<size_t>(shape.rotary / 2));
  Eigen::MatrixXd out = values;
  const bool neox = shape.style == RopeStyle::kNeox;
  for (Eigen::Index row = 0; row < values.rows(); ++row) {
    const double position = positions[static_cast<size_t>(row / count)];
    for (Eigen::Index i = 0; i < shape.rotary / 2; ++i) {
      const double angle = position * inverse_frequencies[static_cast<size_t>(i)];
      const Eigen::Index first = neox ? i : 2 * i;
      const Eigen::Index second = neox ? i + shape.rotary / 2 : 2 * i + 1;
      const double a = values(row, first);
      const double b = values(row, second);
      out(row, first) = scale * (a * std::cos(angle) - b * std::sin(angle));
      out(row, second) = scale * (b * std::cos(angle) + a * std::sin(angle));
    }
  }
  return out;
}

}  // namespace moecast::kernels::reference
