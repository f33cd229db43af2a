#include "kernels/bench/check_support.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_gemm/reference.h"

namespace moecast::kernels {

Operand Draw(RngStream& rng, Eigen::Index rows, Eigen::Index columns, double scale) {
  Operand operand{.row_major = {}, .exact = Eigen::MatrixXd(rows, columns)};
  operand.row_major.reserve(static_cast<size_t>(rows * columns));
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < columns; ++c) {
      const __nv_bfloat16 value =
          __float2bfloat16(static_cast<float>(scale * (2 * rng.NextUniform() - 1)));
      operand.row_major.push_back(value);
      operand.exact(r, c) = static_cast<double>(__bfloat162float(value));
    }
  }
  return operand;
}

std::vector<__nv_bfloat16> Packed(const std::vector<__nv_bfloat16>& row_major, int64_t rows,
                                  int64_t columns) {
  const int64_t padded = (rows + kFragmentRows - 1) / kFragmentRows * kFragmentRows;
  std::vector<__nv_bfloat16> source = row_major;
  source.resize(static_cast<size_t>(padded * columns), __float2bfloat16(0.0F));
  std::vector<__nv_bfloat16> packed(source.size());
  PackRows(source.data(), padded, columns, packed.data());
  return packed;
}

Eigen::MatrixXd ToMatrix(const DeviceBuffer<__nv_bfloat16>& buffer, Eigen::Index rows,
                         Eigen::Index columns) {
  const std::vector<__nv_bfloat16> values = buffer.ToHost();
  Eigen::MatrixXd matrix(rows, columns);
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < columns; ++c)
      matrix(r, c) =
          static_cast<double>(__bfloat162float(values[static_cast<size_t>(r * columns + c)]));
  }
  return matrix;
}

void Require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

void ForCases(const CaseRange& range, int count, const std::string& suite,
              const std::function<void(const std::string& line)>& report,
              const std::function<std::string(int n)>& check_case) {
  const std::string of = " of " + std::to_string(count) + " ";
  Require(range.IsAll() || range.last <= count,
          "--cases ends at " + std::to_string(range.last) + of + "cases of " + suite);
  for (int n = range.first; n <= std::min(range.last, count); ++n)
    report(std::to_string(n) + of + check_case(n));
}

double RequireClose(const Eigen::MatrixXd& out, const Eigen::MatrixXd& expected, double tolerance,
                    const std::string& what) {
  const double error = reference::RelativeError(out, expected);
  Require(error <= tolerance, what + ": relative error " + std::to_string(error));
  return error;
}

}  // namespace moecast::kernels
