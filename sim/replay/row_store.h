// RowStore: many bit rows of one width. Rows lie in large slabs, so growing never copies, and ask
// for huge pages, because the counter walks hundreds of rows at once.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <limits>
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

/// Append-only; rows never move. Threads may read concurrently. Past `resident_bytes` slabs lie in
/// an unnamed temporary file that is mapped: the same pointers, read ahead and paged by the system.
class RowStore {
 public:
  explicit RowStore(int64_t lines_per_row,
                    int64_t resident_bytes = std::numeric_limits<int64_t>::max());

  /// A row of zeros at index size(). RETURNS: null when memory and temporary disk are exhausted.
  Line* Append();
  [[nodiscard]] const Line* row(int64_t index) const {
    const int64_t in_slab = index & ((int64_t{1} << slab_log2_) - 1);
    return slabs_[static_cast<size_t>(index >> slab_log2_)].get() + in_slab * lines_per_row_;
  }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] int64_t lines_per_row() const { return lines_per_row_; }
  [[nodiscard]] bool on_disk() const { return disk_ != nullptr; }
  /// Gives the memory of rows on disk back; they return when they are next read, to the same
  /// addresses, so readers in other threads notice nothing.
  void ReleaseMemory() const;

 private:
  struct Free {
    bool on_heap = true;
    void operator()(Line* slab) const {
      if (on_heap) std::free(slab);
    }
  };
  using Slab = std::unique_ptr<Line[], Free>;
  /// The temporary file and the addresses that it is mapped to.
  struct Disk;
  struct DeleteDisk {
    void operator()(Disk* disk) const;
  };
  bool AddSlab();
  [[nodiscard]] static Slab AllocateSlab(uint64_t bytes);
  [[nodiscard]] Slab MapSlab(uint64_t bytes);

  int64_t lines_per_row_;
  int64_t resident_bytes_;
  int slab_log2_ = 0;  // rows per slab, as a power of two
  int64_t size_ = 0;
  uint64_t heap_bytes_ = 0;
  std::unique_ptr<Disk, DeleteDisk> disk_;  // null until memory is used up
  std::vector<Slab> slabs_;
};

}  // namespace moecast
