#include "sim/engine/kv_cache.h"

#include "sim/base/check.h"

namespace moecast {

KvCache::KvCache(Size size)
    : block_tokens_(size.block_tokens), total_(size.tokens / size.block_tokens), free_(total_) {
  SIM_CHECK(size.block_tokens >= 1 && size.tokens >= 0);
}

bool KvCache::TryReserve(int64_t blocks) {
  SIM_CHECK(blocks >= 0);
  if (blocks > free_) return false;
  free_ -= blocks;
  used_ += blocks;
  SIM_CHECK(free_ + used_ == total_);  // INV-3
  return true;
}

void KvCache::Release(int64_t blocks) {
  SIM_CHECK(blocks >= 0 && blocks <= used_);  // INV-3
  free_ += blocks;
  used_ -= blocks;
  SIM_CHECK(free_ + used_ == total_);  // INV-3
}

}  // namespace moecast
