// What every comparison with a reference needs: random operands that kernel and reference read
// alike, and requirements that name the first difference.
#pragma once

#include <cuda_bf16.h>

#include <Eigen/Core>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/bench/case_range.h"
#include "kernels/harness/device_buffer.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

/// A matrix as a kernel reads it and, exactly the same numbers, as the reference does.
struct Operand {
  std::vector<__nv_bfloat16> row_major;
  Eigen::MatrixXd exact;
};

/// Uniform in [-scale, scale), rounded to bf16.
Operand Draw(RngStream& rng, Eigen::Index rows, Eigen::Index columns, double scale);

/// Fragment order, rows padded with zeros to whole fragments.
std::vector<__nv_bfloat16> Packed(const std::vector<__nv_bfloat16>& row_major, int64_t rows,
                                  int64_t columns);

Eigen::MatrixXd ToMatrix(const DeviceBuffer<__nv_bfloat16>& buffer, Eigen::Index rows,
                         Eigen::Index columns);

/// ERRORS: throws std::runtime_error with `what` unless `holds`.
void Require(bool holds, const std::string& what);

/// Runs the cases of a suite's check that lie in the range; reports each as "n of count " and what
/// `check_case(n)` says of it. ERRORS: a stated last case beyond `count`, as Require.
void ForCases(const CaseRange& range, int count, const std::string& suite,
              const std::function<void(const std::string& line)>& report,
              const std::function<std::string(int n)>& check_case);

/// RETURNS: ||out - expected|| / ||expected||. ERRORS: throws when it exceeds `tolerance`.
double RequireClose(const Eigen::MatrixXd& out, const Eigen::MatrixXd& expected, double tolerance,
                    const std::string& what);

}  // namespace moecast::kernels
