#include "sim/engine/kv_cache.h"

#include <gtest/gtest.h>

#include <list>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {
namespace {

TEST(KvCache, PartialLastBlockIsNotUsable) {
  const KvCache cache({.tokens = 47, .block_tokens = 16});
  EXPECT_EQ(cache.total(), 2);
  EXPECT_EQ(cache.free(), 2);
}

TEST(KvCache, ReservationIsAllOrNothing) {
  KvCache cache({.tokens = 64, .block_tokens = 16});
  EXPECT_TRUE(cache.TryReserve(3));
  EXPECT_FALSE(cache.TryReserve(2));
  EXPECT_EQ(cache.free(), 1);
  EXPECT_TRUE(cache.TryReserve(1));
}

TEST(KvCacheDeathTest, ReleasingMoreThanIsUsedAborts) {
  KvCache cache({.tokens = 64, .block_tokens = 16});
  ASSERT_TRUE(cache.TryReserve(2));
  cache.Release(1);
  EXPECT_DEATH(cache.Release(2), "used_");
}

/// Blocks with identities in a free list, as a real engine keeps them.
class BlockList {
 public:
  explicit BlockList(int64_t blocks) {
    for (int64_t i = 0; i < blocks; ++i) free_.push_back(i);
  }
  bool TryTake(int64_t count, std::vector<int64_t>& holder) {
    if (count > static_cast<int64_t>(free_.size())) return false;
    for (; count > 0; --count) {
      holder.push_back(free_.front());
      free_.pop_front();
    }
    return true;
  }
  void GiveBack(std::vector<int64_t>& holder) {
    free_.insert(free_.end(), holder.begin(), holder.end());
    holder.clear();
  }
  [[nodiscard]] int64_t free() const { return static_cast<int64_t>(free_.size()); }

 private:
  std::list<int64_t> free_;
};

// INV-3
TEST(KvCache, AgreesWithAListOfBlocksOnRandomUse) {
  constexpr int64_t kBlocks = 100;
  RngStream rng(Seed{.seed = 1}, "test/kv_cache");
  KvCache cache({.tokens = kBlocks * 16, .block_tokens = 16});
  BlockList naive(kBlocks);
  std::vector<std::vector<int64_t>> holders(10);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<int64_t>& holder = holders[rng.NextBelow(holders.size())];
    if (rng.NextBelow(3) == 0) {
      cache.Release(static_cast<int64_t>(holder.size()));
      naive.GiveBack(holder);
    } else {
      const auto count = static_cast<int64_t>(rng.NextBelow(12));
      ASSERT_EQ(cache.TryReserve(count), naive.TryTake(count, holder));
    }
    ASSERT_EQ(cache.free(), naive.free());
    ASSERT_EQ(cache.free() + cache.used(), cache.total());
  }
}

}  // namespace
}  // namespace moecast
