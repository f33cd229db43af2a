#include "kernels/ops/kv/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/ops/expert_gemm/quantise.h"
#include "kernels/ops/kv/small_float.h"
#include "sim/base/check.h"

namespace moecast::kernels::reference {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;

// Rows and columns that share a scale.
struct Block {
  Index rows;
  Index columns;
};
Block BlockOf(const KvPart& part) {
  return part.axis == ScaleAxis::kToken ? Block{1, part.group} : Block{part.group, 1};
}

int Levels(const KvPart& part) { return (1 << BitsOf(part.element)) - 1; }
double Half(double value) { return ValueOfHalf(HalfOf(value)); }

int CodeOf(const KvPart& part, double x, double scale, double zero) {
  if (part.element == KvElement::kE4m3) return E4m3Of(scale > 0 ? x / scale : 0);
  if (part.element == KvElement::kE5m2) return E5m2Of(scale > 0 ? x / scale : 0);
  const double code = std::nearbyint(ExactCode(x, scale, zero));
  return static_cast<int>(std::clamp(code, 0.0, static_cast<double>(Levels(part))));
}

double ValueOf(const KvPart& part, int code) {
  if (part.element == KvElement::kE4m3) return ValueOfE4m3(static_cast<uint8_t>(code));
  if (part.element == KvElement::kE5m2) return ValueOfE5m2(static_cast<uint8_t>(code));
  return code;
}

void QuantiseGroup(const MatrixXd& x, Index row, Index column, QuantisedPart& q) {
  const Block block = BlockOf(q.part);
  const Index first_row = row * block.rows;
  const Index first_column = column * block.columns;
  const auto group = x.block(first_row, first_column, block.rows, block.columns);
  double scale = 0;
  double zero = 0;
  if (IsFp8(q.part.element)) {
    const double largest = q.part.element == KvElement::kE4m3 ? double{kE4m3Max} : kE5m2Max;
    scale = static_cast<double>(static_cast<float>(group.cwiseAbs().maxCoeff() / largest));
  } else {
    scale = Half((group.maxCoeff() - group.minCoeff()) / Levels(q.part));
    zero = Half(group.minCoeff());
  }
  for (Index r = first_row; r < first_row + block.rows; ++r) {
    for (Index c = first_column; c < first_column + block.columns; ++c)
      q.codes(r, c) = CodeOf(q.part, x(r, c), scale, zero);
  }
  const double eta = static_cast<double>(q.part.eta);
  const bool pulled = IsInteger(q.part.element);
  q.scales(row, column) = pulled ? Half((1 - 2 * eta) * scale) : scale;
  q.zeros(row, column) = pulled ? Half(zero + eta * Levels(q.part) * scale) : 0;
}

}  // namespace

double ExactCode(double x, double scale, double zero) { return scale > 0 ? (x - zero) / scale : 0; }

QuantisedPart Quantise(const KvPart& part, const MatrixXd& x) {
  SIM_CHECK(part.element != KvElement::kBf16);
  const Block block = BlockOf(part);
  SIM_CHECK(x.rows() % block.rows == 0 && x.cols() % block.columns == 0);
  const Index rows = x.rows() / block.rows;
  const Index columns = x.cols() / block.columns;
  QuantisedPart q{.part = part,
                  .codes = Eigen::MatrixXi(x.rows(), x.cols()),
                  .scales = MatrixXd(rows, columns),
                  .zeros = MatrixXd(rows, columns)};
  for (Index row = 0; row < rows; ++row) {
    for (Index column = 0; column < columns; ++column) QuantiseGroup(x, row, column, q);
  }
  return q;
}

MatrixXd Dequantise(const QuantisedPart& q) {
  const Block block = BlockOf(q.part);
  return MatrixXd::NullaryExpr(q.codes.rows(), q.codes.cols(), [&](Index r, Index c) {
    const Index row = r / block.rows;
    const Index column = c / block.columns;
    return q.scales(row, column) * ValueOf(q.part, q.codes(r, c)) + q.zeros(row, column);
  });
}

MatrixXd Cached(const KvPart& part, const KvWindow& window, const MatrixXd& x,
                const MatrixXd* codes_of) {
  MatrixXd seen = x;
  const Index count = QuantisedTokens(window, x.rows());
  if (part.element == KvElement::kBf16 || count == 0) return seen;
  QuantisedPart q = Quantise(part, x.middleRows(window.sink, count));
  if (codes_of != nullptr) q.codes = Quantise(part, codes_of->middleRows(window.sink, count)).codes;
  seen.middleRows(window.sink, count) = Dequantise(q);
  return seen;
}

AttentionOutput Attend(const MatrixXd& q, const MatrixXd& k, const MatrixXd& v, double scale) {
  const MatrixXd scores = scale * q * k.transpose();
  const Eigen::VectorXd largest = scores.rowwise().maxCoeff();
  const MatrixXd weights = (scores.colwise() - largest).array().exp();
  const Eigen::VectorXd sums = weights.rowwise().sum();
  return {.out = sums.cwiseInverse().asDiagonal() * (weights * v),
          .log_sum_exp = largest.array() + sums.array().log()};
}

AttentionOutput Merge(const std::vector<AttentionOutput>& parts) {
  SIM_CHECK(!parts.empty());
  Eigen::ArrayXd largest = parts[0].log_sum_exp;
  for (const AttentionOutput& part : parts) largest = largest.max(part.log_sum_exp.array());
  Eigen::ArrayXd sum = Eigen::ArrayXd::Zero(largest.size());
  MatrixXd out = MatrixXd::Zero(parts[0].out.rows(), parts[0].out.cols());
  for (const AttentionOutput& part : parts) {
    const Eigen::ArrayXd weight = (part.log_sum_exp.array() - largest).exp();
    sum += weight;
    out += weight.matrix().asDiagonal() * part.out;
  }
  return {.out = sum.inverse().matrix().asDiagonal() * out, .log_sum_exp = largest + sum.log()};
}

MatrixXd Hadamard(int n) {
  SIM_CHECK(std::has_single_bit(static_cast<unsigned>(n)));
  const double unit = 1 / std::sqrt(static_cast<double>(n));
  return MatrixXd::NullaryExpr(n, n, [unit](Index i, Index j) {
    return std::popcount(static_cast<unsigned>(i & j)) % 2 == 0 ? unit : -unit;
  });
}

}  // namespace moecast::kernels::reference
