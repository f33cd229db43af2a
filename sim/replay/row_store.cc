#include "sim/replay/row_store.h"

#include <bit>
#include <cstring>

#include "sim/base/check.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace moecast {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr uint64_t kSlabBytes = 8 * kHugePageBytes;

}  // namespace

RowStore::RowStore(int64_t lines_per_row) : lines_per_row_(lines_per_row) {
  SIM_CHECK(lines_per_row >= 1);
  const uint64_t rows = kSlabBytes / (static_cast<uint64_t>(lines_per_row) * sizeof(Line));
  slab_log2_ = rows > 1 ? static_cast<int>(std::bit_width(rows)) - 1 : 0;
}

Line* RowStore::Append() {
  if (size_ == std::ssize(slabs_) << slab_log2_ && !AddSlab()) return nullptr;
  const int64_t in_slab = size_ & ((int64_t{1} << slab_log2_) - 1);
  Line* row = slabs_.back().get() + in_slab * lines_per_row_;
  std::memset(static_cast<void*>(row), 0, static_cast<size_t>(lines_per_row_) * sizeof(Line));
  ++size_;
  return row;
}

bool RowStore::AddSlab() {
  const uint64_t used = (static_cast<uint64_t>(lines_per_row_) << slab_log2_) * sizeof(Line);
  const uint64_t bytes = (used + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  void* slab = std::aligned_alloc(kHugePageBytes, bytes);
  if (slab == nullptr) return false;
#ifdef __linux__
  // A wish, not a need: without huge pages the counter is slower and equally right.
  static_cast<void>(madvise(slab, bytes, MADV_HUGEPAGE));
#endif
  slabs_.emplace_back(static_cast<Line*>(slab));
  return true;
}

}  // namespace moecast
