#include "kernels/ops/expert_gemm/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "sim/base/check.h"

namespace moecast::kernels {
namespace {

constexpr int kLargestInt4 = 7;

// Rows and columns that share a scale.
struct Block {
  int64_t rows;
  int64_t columns;
};
Block BlockOf(WeightFormat format, int64_t rows, int64_t columns) {
  switch (format) {
    case WeightFormat::kFp8Block:
      return {kFp8BlockSize, kFp8BlockSize};
    case WeightFormat::kInt4G32:
    case WeightFormat::kInt4G128:
      return {1, GroupColumns(format)};
    case WeightFormat::kBf16:
    case WeightFormat::kFp8:
      break;
  }
  return {rows, columns};
}

int64_t Quotient(int64_t count, int64_t size) { return (count + size - 1) / size; }

size_t ScaleIndex(const QuantisedMatrix& m, int64_t row, int64_t column) {
  const Block block = BlockOf(m.format, m.rows, m.columns);
  return static_cast<size_t>(row / block.rows * Quotient(m.columns, block.columns) +
                             column / block.columns);
}

double ScaleFor(WeightFormat format, double largest) {
  if (IsFp8(format)) return static_cast<double>(static_cast<float>(largest / kE4m3Max));
  return ValueOfBf16(Bf16Of(largest / kLargestInt4));
}

uint16_t CodeOf(WeightFormat format, double value, double scale) {
  if (format == WeightFormat::kBf16) return Bf16Of(value);
  const double scaled = scale > 0 ? value / scale : 0;
  if (IsFp8(format)) return E4m3Of(scaled);
  return static_cast<uint16_t>(std::clamp(std::nearbyint(scaled) + kInt4Zero, 0.0, 15.0));
}

}  // namespace

double ValueOfE4m3(uint8_t code) {
  constexpr int kBias = 7;
  constexpr int kMantissaBits = 3;
  const int exponent = code >> kMantissaBits & 15;
  const int mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::nan("");
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, 1 - kBias - kMantissaBits)
                               : std::ldexp(8 + mantissa, exponent - kBias - kMantissaBits);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

uint8_t E4m3Of(double value) {
  if (std::isnan(value)) return 0x7f;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const double magnitude = std::min(std::abs(value), static_cast<double>(kE4m3Max));
  // Steps of 2^-9 below 2^-6, of an eighth of the power of two above.
  constexpr int kSmallestNormal = -6;
  const int exponent =
      magnitude > 0 ? std::max(std::ilogb(magnitude), kSmallestNormal) : kSmallestNormal;
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  // A carry of the rounding into the next power of two is a carry of the bits.
  const int bits = (exponent - kSmallestNormal) * 8 + steps;
  return static_cast<uint8_t>(sign | bits);
}

uint16_t Bf16Of(double value) {
  if (value == 0) return std::signbit(value) ? 0x8000 : 0;
  const int exponent = std::max(std::ilogb(value), -126);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(value, 7 - exponent)), exponent - 7);
  SIM_CHECK(std::isfinite(static_cast<float>(rounded)));
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(rounded)) >> 16);
}

double ValueOfBf16(uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

double QuantisedMatrix::Value(int64_t row, int64_t column) const {
  const uint16_t code = codes[static_cast<size_t>(row * columns + column)];
  if (format == WeightFormat::kBf16) return ValueOfBf16(code);
  const double scale = scales[ScaleIndex(*this, row, column)];
  if (IsFp8(format)) return scale * ValueOfE4m3(static_cast<uint8_t>(code));
  return scale * (code - kInt4Zero);
}

QuantisedMatrix Quantise(WeightFormat format, const Eigen::MatrixXd& weights) {
  QuantisedMatrix m{.format = format,
                    .rows = weights.rows(),
                    .columns = weights.cols(),
                    .codes = {},
                    .scales = {}};
  SIM_CHECK(Fits(format, static_cast<int>(m.columns)));
  const Block block = BlockOf(format, m.rows, m.columns);
  m.codes.resize(static_cast<size_t>(m.rows * m.columns));
  for (int64_t row = 0; row < m.rows; row += block.rows) {
    for (int64_t column = 0; column < m.columns; column += block.columns) {
      const auto part = weights.block(row, column, std::min(block.rows, m.rows - row),
                                      std::min(block.columns, m.columns - column));
      const double scale = ScaleFor(format, part.cwiseAbs().maxCoeff());
      if (format != WeightFormat::kBf16) m.scales.push_back(static_cast<float>(scale));
      for (int64_t r = 0; r < part.rows(); ++r) {
        for (int64_t c = 0; c < part.cols(); ++c)
          m.codes[static_cast<size_t>((row + r) * m.columns + column + c)] =
              CodeOf(format, part(r, c), scale);
      }
    }
  }
  return m;
}

Eigen::MatrixXd Values(const QuantisedMatrix& matrix) {
  return Eigen::MatrixXd::NullaryExpr(
      matrix.rows, matrix.columns,
      [&](Eigen::Index row, Eigen::Index column) { return matrix.Value(row, column); });
}

// The factor and the products are float32, as in the kernels: where a value lies half way between
// two codes, the last bit of the factor decides, and float64 would take the other code.
Eigen::MatrixXd QuantiseActivations(WeightFormat format, const Eigen::MatrixXd& x, double scale) {
  if (!IsFp8(format)) return x;
  const bool in_blocks = format == WeightFormat::kFp8Block;
  const int64_t group = in_blocks ? kFp8BlockSize : x.cols();
  Eigen::MatrixXd rounded(x.rows(), x.cols());
  for (int64_t row = 0; row < x.rows(); ++row) {
    for (int64_t first = 0; first < x.cols(); first += group) {
      const int64_t count = std::min(group, x.cols() - first);
      const double largest = x.row(row).segment(first, count).cwiseAbs().maxCoeff();
      const double s = in_blocks ? largest / kE4m3Max : scale;
      const float factor =
          in_blocks ? kE4m3Max / static_cast<float>(largest) : 1 / static_cast<float>(scale);
      for (int64_t c = first; c < first + count; ++c)
        rounded(row, c) =
            s > 0 ? s * ValueOfE4m3(E4m3Of(static_cast<float>(x(row, c)) * factor)) : 0;
    }
  }
  return rounded;
}

}  // namespace moecast::kernels
