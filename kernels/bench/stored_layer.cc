#include "kernels/bench/stored_layer.h"

#include <span>

#include "kernels/ops/expert_gemm/pack.h"

namespace moecast::kernels {
namespace {

template <class T>
void Append(std::vector<T>& to, const std::vector<T>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

constexpr float kLargestX = 1;
constexpr float kLargestAct = 32;

}  // namespace

StoredLayer::StoredLayer(const ExpertShape& shape, WeightFormat format,
                         const std::function<Eigen::MatrixXd(int64_t rows, int64_t columns)>& draw)
    : format_(format) {
  std::vector<uint8_t> gate_up;
  std::vector<uint8_t> down;
  std::vector<float> gate_up_scale;
  std::vector<float> down_scale;
  for (int32_t e = 0; e < shape.experts; ++e) {
    const QuantisedMatrix gate = Quantise(format, draw(shape.intermediate, shape.hidden));
    const QuantisedMatrix up = Quantise(format, draw(shape.intermediate, shape.hidden));
    const QuantisedMatrix out = Quantise(format, draw(shape.hidden, shape.intermediate));
    Append(gate_up, PackGateUp(gate, up));
    Append(down, Pack(out));
    Append(gate_up_scale, gate.scales);
    Append(gate_up_scale, up.scales);
    Append(down_scale, out.scales);
    experts_.push_back({.gate = Values(gate), .up = Values(up), .down = Values(out)});
  }
  gate_up_ = DeviceBuffer<uint8_t>(std::span<const uint8_t>(gate_up));
  down_ = DeviceBuffer<uint8_t>(std::span<const uint8_t>(down));
  gate_up_scale_ = DeviceBuffer<float>(std::span<const float>(gate_up_scale));
  down_scale_ = DeviceBuffer<float>(std::span<const float>(down_scale));
}

StoredExperts StoredLayer::stored() const {
  return {.format = format_,
          .gate_up = gate_up_.data(),
          .down = down_.data(),
          .gate_up_scale = gate_up_scale_.data(),
          .down_scale = down_scale_.data(),
          .x_scale = kLargestX / kE4m3Max,
          .act_scale = kLargestAct / kE4m3Max};
}

}  // namespace moecast::kernels
