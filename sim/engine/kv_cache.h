// KvCache: block accounting of one attention-data-parallel group. [PagedAttention23]
// Blocks of one cache are interchangeable, so counts are enough; who holds how many follows from
// the holder's cached tokens (KvUse::BlocksFor). free + used == total after every call (INV-3).
#pragma once

#include <cstdint>

namespace moecast {

class KvCache {
 public:
  struct Size {
    int64_t tokens = 0;        // capacity; a last, partial block is not usable
    int64_t block_tokens = 0;  // tokens per block, >= 1
  };
  explicit KvCache(Size size);

  /// Takes `blocks` if that many are free, else takes none and returns false.
  [[nodiscard]] bool TryReserve(int64_t blocks);
  /// Gives back. REQUIRES: at least `blocks` are in use (nothing is freed twice).
  void Release(int64_t blocks);

  [[nodiscard]] int64_t free() const { return free_; }
  [[nodiscard]] int64_t used() const { return used_; }
  [[nodiscard]] int64_t total() const { return total_; }
  [[nodiscard]] int64_t block_tokens() const { return block_tokens_; }

 private:
  int64_t block_tokens_;
  int64_t total_;
  int64_t free_;
  int64_t used_ = 0;
};

}  // namespace moecast
