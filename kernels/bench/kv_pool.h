// A paged cache in device memory for checks and suites: pools, and tables that scatter each
// sequence's pages over them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/harness/device_buffer.h"
#include "kernels/ops/kv/kv_cache.h"

namespace moecast::kernels {

class KvPool {
 public:
  /// Pages for `sequences` of up to `tokens` tokens each, every byte 0xff.
  KvPool(const KvShape& shape, const KvScheme& scheme, int sequences, int64_t tokens,
         uint64_t seed);

  /// Valid while the pool lives.
  [[nodiscard]] KvCache view() const;
  [[nodiscard]] const PageLayout& layout() const { return layout_; }
  [[nodiscard]] int pages_per_sequence() const { return pages_per_sequence_; }

  /// Bytes of the page of a sequence's token and head, and of the bf16 page that has it.
  [[nodiscard]] std::vector<uint8_t> QuantisedPage(int sequence, int64_t token, int head) const;
  [[nodiscard]] std::vector<uint8_t> WindowPage(int sequence, int64_t token, int head) const;

 private:
  KvShape shape_;
  KvScheme scheme_;
  PageLayout layout_;
  int pages_per_sequence_ = 0;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> window_table_;
  DeviceBuffer<uint8_t> pages_;
  DeviceBuffer<uint8_t> window_;
  DeviceBuffer<int32_t> device_block_table_;
  DeviceBuffer<int32_t> device_window_table_;
};

}  // namespace moecast::kernels
