// The Hadamard matrix as RotateHeads takes it.
#pragma once

#include <cuda_bf16.h>

#include <cmath>
#include <span>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/kv/reference.h"

namespace moecast::kernels {

/// +1 and -1; HadamardFactor stands apart.
inline DeviceBuffer<__nv_bfloat16> HadamardColumns(int head_dim) {
  const Eigen::MatrixXd h = reference::Hadamard(head_dim);
  std::vector<__nv_bfloat16> signs;
  for (Eigen::Index i = 0; i < h.size(); ++i)
    signs.push_back(__float2bfloat16(h(i) > 0 ? 1.0F : -1.0F));
  return DeviceBuffer<__nv_bfloat16>(std::span<const __nv_bfloat16>(signs));
}
inline float HadamardFactor(int head_dim) { return 1 / std::sqrt(static_cast<float>(head_dim)); }

}  // namespace moecast::kernels
