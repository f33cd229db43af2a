// StoredLayer: one layer's experts drawn, quantised, packed and put on the device, beside the
// numbers their codes stand for.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/expert_gemm/expert_gemm.h"
#include "kernels/ops/expert_gemm/reference.h"

namespace moecast::kernels {

class StoredLayer {
 public:
  /// `draw(rows, columns)` gives each projection in turn: gate, up, down of expert 0, 1, ...
  /// Activation scales of fp8_tensor suit x in [-1, 1] and act in [-32, 32].
  StoredLayer(const ExpertShape& shape, WeightFormat format,
              const std::function<Eigen::MatrixXd(int64_t rows, int64_t columns)>& draw);

  [[nodiscard]] StoredExperts stored() const;
  /// The weights as the products see them.
  [[nodiscard]] const std::vector<reference::ExpertWeights>& experts() const { return experts_; }

 private:
  WeightFormat format_;
  std::vector<reference::ExpertWeights> experts_;
  DeviceBuffer<uint8_t> gate_up_;
  DeviceBuffer<uint8_t> down_;
  DeviceBuffer<float> gate_up_scale_;
  DeviceBuffer<float> down_scale_;
};

}  // namespace moecast::kernels
