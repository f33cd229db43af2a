#include "sim/replay/row_store.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sim/base/check.h"

#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#endif

namespace moecast {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr uint64_t kSlabBytes = 8 * kHugePageBytes;

}  // namespace

RowStore::RowStore(int64_t lines_per_row, int64_t resident_bytes)
    : lines_per_row_(lines_per_row), resident_bytes_(resident_bytes) {
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
  const bool fits = heap_bytes_ + bytes <= static_cast<uint64_t>(resident_bytes_);
  Slab slab = fits ? AllocateSlab(bytes) : MapSlab(bytes);
  if (slab == nullptr) return false;
  if (fits) heap_bytes_ += bytes;
  // The slabs before this one are complete: their pages may go to disk.
  ReleaseMemory();
  slabs_.push_back(std::move(slab));
  return true;
}

RowStore::Slab RowStore::AllocateSlab(uint64_t bytes) {
  void* const slab = std::aligned_alloc(kHugePageBytes, bytes);
#ifdef __linux__
  // A wish, not a need: without huge pages the counter is slower and equally right.
  if (slab != nullptr) static_cast<void>(madvise(slab, bytes, MADV_HUGEPAGE));
#endif
  return Slab(static_cast<Line*>(slab), Free{});
}

#ifdef __linux__
struct RowStore::Disk {
  std::FILE* file = std::tmpfile();
  /// Addresses to map the file to, piece by piece: one range is released by one call.
  uint64_t range_bytes = RangeBytes(file);
  void* range =
      mmap(nullptr, range_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t bytes = 0;

  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  ~Disk() {
    if (range != MAP_FAILED) munmap(range, range_bytes);
    if (file != nullptr) std::fclose(file);
  }
  [[nodiscard]] bool usable() const { return file != nullptr && range != MAP_FAILED; }

 private:
  /// What the file can grow to. Addresses are scarce where many tables lie on disk, under
  /// `ulimit -v` and in a sanitizer's process. RETURNS: more than 0.
  static uint64_t RangeBytes(std::FILE* file) {
    constexpr uint64_t kMost = uint64_t{1} << 40;
    struct statvfs disk {};
    const bool known = file != nullptr && fstatvfs(fileno(file), &disk) == 0;
    if (!known || disk.f_blocks == 0) return kMost;  // 0: a tmpfs without a limit
    const uint64_t free_blocks = std::min<uint64_t>(disk.f_bavail, kMost / disk.f_frsize);
    return std::max(free_blocks * disk.f_frsize, kHugePageBytes);
  }
};

void RowStore::DeleteDisk::operator()(Disk* disk) const { delete disk; }

RowStore::Slab RowStore::MapSlab(uint64_t bytes) {
  if (disk_ == nullptr) disk_.reset(new Disk);
  if (!disk_->usable() || bytes > disk_->range_bytes - disk_->bytes) return nullptr;
  const int descriptor = fileno(disk_->file);
  const auto offset = static_cast<off_t>(disk_->bytes);
  // Reserved on disk now: a full disk is an answer here and would be a signal at a later write.
  if (posix_fallocate(descriptor, offset, static_cast<off_t>(bytes)) != 0) return nullptr;
  void* const slab = mmap(static_cast<char*>(disk_->range) + disk_->bytes, bytes,
                          PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, offset);
  if (slab == MAP_FAILED) return nullptr;
  disk_->bytes += bytes;
  return {static_cast<Line*>(slab), Free{.on_heap = false}};
}

void RowStore::ReleaseMemory() const {
  // Of a shared mapping this drops pages, not contents: those are in the file.
  if (disk_ != nullptr && disk_->bytes > 0) {
    static_cast<void>(madvise(disk_->range, disk_->bytes, MADV_DONTNEED));
  }
}
#else
struct RowStore::Disk {};
void RowStore::DeleteDisk::operator()(Disk* disk) const { delete disk; }
RowStore::Slab RowStore::MapSlab(uint64_t /*bytes*/) { return nullptr; }
void RowStore::ReleaseMemory() const {}
#endif

}  // namespace moecast
