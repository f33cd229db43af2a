// Host side of the weight formats: quantising a matrix, and the numbers the codes stand for. The
// reference products of a format are the float64 products of those numbers.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "kernels/ops/weight_format.h"

namespace moecast::kernels {

/// Nearest e4m3, ties to even, saturating; not-a-number gives 0x7f.
uint8_t E4m3Of(double value);
double ValueOfE4m3(uint8_t code);
/// Nearest bf16, ties to even. REQUIRES: within its range.
uint16_t Bf16Of(double value);
double ValueOfBf16(uint16_t bits);

/// One projection of one expert in a format.
struct QuantisedMatrix {
  WeightFormat format = WeightFormat::kBf16;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<uint16_t> codes;  // [rows, columns]; bf16 bits, e4m3, or 0..15
  /// fp8_tensor: one. fp8_block: [ceil(rows / 128), ceil(columns / 128)]. 4 bits: [rows, columns /
  /// group], each a bf16.
  std::vector<float> scales;

  /// What the code at (row, column) stands for, scale included.
  [[nodiscard]] double Value(int64_t row, int64_t column) const;
};

/// Scales map the largest magnitude they cover to the largest code: 448, or 7.
/// REQUIRES: Fits(format, columns).
QuantisedMatrix Quantise(WeightFormat format, const Eigen::MatrixXd& weights);
/// All values of a matrix.
Eigen::MatrixXd Values(const QuantisedMatrix& matrix);

/// The activations [tokens, K] as the products of a format see them, code by code as the kernels
/// round them. `scale` is fp8_tensor's. REQUIRES: x in bf16.
Eigen::MatrixXd QuantiseActivations(WeightFormat format, const Eigen::MatrixXd& x, double scale);

}  // namespace moecast::kernels
