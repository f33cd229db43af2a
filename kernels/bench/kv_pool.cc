#include "kernels/bench/kv_pool.h"

#include <numeric>
#include <span>

#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

// 0 .. count - 1 in a drawn order.
std::vector<int32_t> Scattered(RngStream& rng, size_t count) {
  std::vector<int32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[rng.NextBelow(i)]);
  return order;
}

size_t PoolBytes(const PageLayout& layout, const KvShape& shape, size_t pages) {
  return pages * static_cast<size_t>(shape.kv_heads) * static_cast<size_t>(layout.page_bytes);
}

std::vector<uint8_t> PageOf(const DeviceBuffer<uint8_t>& pool, const PageLayout& layout,
                            int64_t start) {
  std::vector<uint8_t> page(static_cast<size_t>(layout.page_bytes));
  CUDA_CHECK(cudaMemcpy(page.data(), pool.data() + start, page.size(), cudaMemcpyDeviceToHost));
  return page;
}

}  // namespace

KvPool::KvPool(const KvShape& shape, const KvScheme& scheme, int sequences, int64_t tokens,
               uint64_t seed)
    : shape_(shape),
      scheme_(scheme),
      layout_(LayoutOf(scheme, shape.head_dim)),
      pages_per_sequence_(static_cast<int>((tokens + kPageTokens - 1) / kPageTokens)) {
  RngStream rng({.seed = seed}, "kernels/kv_pool");
  const auto count = static_cast<size_t>(sequences);
  block_table_ = Scattered(rng, count * static_cast<size_t>(pages_per_sequence_));
  pages_ = DeviceBuffer<uint8_t>(PoolBytes(layout_, shape, block_table_.size()));
  pages_.Poison();
  device_block_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(block_table_));
  if (!HasWindow(scheme)) return;
  window_table_ = Scattered(rng, count * static_cast<size_t>(WindowPages(scheme.window)));
  window_ =
      DeviceBuffer<uint8_t>(PoolBytes(WindowLayout(shape.head_dim), shape, window_table_.size()));
  window_.Poison();
  device_window_table_ = DeviceBuffer<int32_t>(std::span<const int32_t>(window_table_));
}

KvCache KvPool::view() const {
  return {.pages = pages_.data(),
          .block_table = device_block_table_.data(),
          .pages_per_sequence = pages_per_sequence_,
          .window = window_.data(),
          .window_table = device_window_table_.data()};
}

std::vector<uint8_t> KvPool::QuantisedPage(int sequence, int64_t token, int head) const {
  const auto entry =
      static_cast<size_t>(int64_t{sequence} * pages_per_sequence_ + token / kPageTokens);
  return PageOf(pages_, layout_, PageStart(layout_, shape_.kv_heads, block_table_[entry], head));
}

std::vector<uint8_t> KvPool::WindowPage(int sequence, int64_t token, int head) const {
  const PageLayout layout = WindowLayout(shape_.head_dim);
  const auto entry = static_cast<size_t>(sequence * WindowPages(scheme_.window) +
                                         WindowPageOf(scheme_.window, token));
  return PageOf(window_, layout, PageStart(layout, shape_.kv_heads, window_table_[entry], head));
}

}  // namespace moecast::kernels
