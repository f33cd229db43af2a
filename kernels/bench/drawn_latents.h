// DrawnLatents: paged latents of random codes, scales and zeros for the checks of latent attention.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/mla/attend_mla.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

class DrawnLatents {
 public:
  /// Pages lie in random order. `tokens` of each sequence.
  DrawnLatents(KvElement element, const std::vector<int32_t>& tokens, RngStream& rng);

  [[nodiscard]] LatentCache View() const;
  /// What the pages stand for: the first `count` tokens of a sequence, latent and rotary part,
  /// [count, 576].
  [[nodiscard]] Eigen::MatrixXd Read(int32_t sequence, int32_t count) const;

 private:
  void DrawPage(int64_t start, RngStream& rng);
  [[nodiscard]] double Latent(int64_t page, int token, int channel) const;

  KvElement element_;
  LatentLayout layout_;
  int32_t pages_per_sequence_ = 0;
  std::vector<int32_t> table_;
  std::vector<uint8_t> bytes_;
  DeviceBuffer<int32_t> device_table_;
  DeviceBuffer<uint8_t> device_;
};

}  // namespace moecast::kernels
