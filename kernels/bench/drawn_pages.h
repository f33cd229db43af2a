// DrawnPages: a paged cache of random codes, scales and zeros for the checks of attention, which
// need not know how such codes come about. Tokens that a sequence does not have are not-a-number
// where the element can say so.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/kv/kv_cache.h"
#include "kernels/ops/kv/kv_scheme.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

struct CheckScheme {
  std::string name;
  KvScheme scheme;
};

/// Every element of keys and of values, both axes, every size of group that fits, windows with and
/// without sinks, codes shared with another layer.
std::vector<CheckScheme> SchemesForChecks(int32_t head_dim);

class DrawnPages {
 public:
  /// Pages lie in random order. `tokens` of each sequence. REQUIRES: Fits(scheme, shape.head_dim).
  DrawnPages(const KvScheme& scheme, const KvShape& shape, const std::vector<int32_t>& tokens,
             RngStream& rng);

  [[nodiscard]] KvCache View() const;
  /// What the pages stand for: the first `count` tokens of a sequence, [count, head_dim].
  [[nodiscard]] Eigen::MatrixXd Read(KvSide side, int32_t sequence, int32_t head,
                                     int32_t count) const;

 private:
  // A pool on both sides, with the layout of its pages.
  struct Pool {
    PageLayout layout;
    std::vector<uint8_t> bytes;
    DeviceBuffer<uint8_t> device;
  };

  [[nodiscard]] Pool DrawPool(const KvScheme& stored, size_t pages, RngStream& rng) const;
  void PoisonTails(const std::vector<int32_t>& tokens);
  [[nodiscard]] double Element(KvSide side, int32_t sequence, int32_t head, int32_t token,
                               int32_t channel) const;

  KvScheme scheme_;
  KvShape shape_;
  std::vector<int32_t> tokens_;
  int32_t pages_per_sequence_ = 0;
  Pool pages_;
  Pool code_pages_;  // of the layer whose codes are shared
  Pool window_;
  std::vector<int32_t> table_;
  std::vector<int32_t> window_table_;
  DeviceBuffer<int32_t> device_table_;
  DeviceBuffer<int32_t> device_window_table_;
};

}  // namespace moecast::kernels
