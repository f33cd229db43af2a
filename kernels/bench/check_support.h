// What every comparison with a reference needs: random operands that kernel and reference read
// alike, and requirements that name the first difference.
#pragma once

#include <cuda_bf16.h>

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

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

/// RETURNS: ||out - expected|| / ||expected||. ERRORS: throws when it exceeds `tolerance`.
double RequireClose(const Eigen::MatrixXd& out, const Eigen::MatrixXd& expected, double tolerance,
                    const std::string& what);

}  // namespace moecast::kernels
