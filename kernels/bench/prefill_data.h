// Host side of a small compute-bound layer: random weights in a format, in the layout the products
// read, beside the numbers they stand for.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/expert_gemm/reference.h"
#include "kernels/ops/expert_prefill/expert_prefill.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

struct PrefillLayer {
  std::vector<reference::ExpertWeights> exact;  // [E] as multiplied
  DeviceBuffer<uint8_t> gate_up;
  DeviceBuffer<uint8_t> down;
  DeviceBuffer<uint8_t> gate_up_scale;
  DeviceBuffer<uint8_t> down_scale;

  [[nodiscard]] PrefillWeights weights(WeightFormat format) const {
    return {.format = format,
            .gate_up = gate_up.data(),
            .down = down.data(),
            .gate_up_scale = gate_up_scale.data(),
            .down_scale = down_scale.data()};
  }
};

/// Uniform weights. REQUIRES: Fits(format, hidden) and Fits(format, intermediate).
PrefillLayer DrawPrefillLayer(const ExpertShape& shape, WeightFormat format, RngStream& rng);

/// Activations of a format on the device, poisoned.
struct PrefillRowBuffers {
  WeightFormat format;
  int32_t rows = 0;
  int32_t columns = 0;
  float static_scale = 1;
  DeviceBuffer<uint8_t> values;
  DeviceBuffer<float> block_scale;

  PrefillRowBuffers(WeightFormat row_format, int32_t row_count, int32_t column_count,
                    float row_scale);
  [[nodiscard]] PrefillRows view() const {
    return {
        .values = values.data(), .block_scale = block_scale.data(), .static_scale = static_scale};
  }
  /// Bytes of one value.
  [[nodiscard]] int32_t element_bytes() const { return IsFp8(format) ? 1 : 2; }
};

}  // namespace moecast::kernels
