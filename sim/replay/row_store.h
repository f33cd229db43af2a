// RowStore: many bit rows of one width. Rows lie in large slabs, so growing never copies, and ask
// for huge pages, because the counter walks hundreds of rows at once.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "sim/replay/vertical_counter.h"

namespace moecast {

/// Where the experts of each MoE layer lie in a bit row: layer l, expert e is bit l * stride + e.
/// A layer takes whole 16-bit lanes, so a lane never straddles layers.
struct RowLayout {
  int64_t moe_layers = 0;
  int64_t experts = 0;

  [[nodiscard]] int64_t stride() const {
    return (experts + kBitsPerLane - 1) / kBitsPerLane * kBitsPerLane;
  }
  [[nodiscard]] int64_t lines() const {
    return (moe_layers * stride() + kBitsPerLine - 1) / kBitsPerLine;
  }
  /// Positions of a row, unused ones at the end of layers and rows included.
  [[nodiscard]] int64_t positions() const { return lines() * kBitsPerLine; }
  friend bool operator==(const RowLayout&, const RowLayout&) = default;
};

/// Append-only; rows never move. Threads may read concurrently.
class RowStore {
 public:
  explicit RowStore(int64_t lines_per_row);

  /// A row of zeros at index size(). RETURNS: null when memory is exhausted.
  Line* Append();
  [[nodiscard]] const Line* row(int64_t index) const {
    const int64_t in_slab = index & ((int64_t{1} << slab_log2_) - 1);
    return slabs_[static_cast<size_t>(index >> slab_log2_)].get() + in_slab * lines_per_row_;
  }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] int64_t lines_per_row() const { return lines_per_row_; }

 private:
  struct Free {
    void operator()(Line* slab) const { std::free(slab); }
  };
  bool AddSlab();

  int64_t lines_per_row_;
  int slab_log2_ = 0;  // rows per slab, as a power of two
  int64_t size_ = 0;
  std::vector<std::unique_ptr<Line[], Free>> slabs_;
};

}  // namespace moecast
