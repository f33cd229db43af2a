// KvUse: a KvPlan as the scheduler sees it: whole blocks that a sequence takes, and at which
// lengths its tokens change their code. Blocks are of equal bytes; how many tokens one holds
// depends on the store that a sequence is kept in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "sim/model/kv_plan.h"

namespace moecast {

struct KvUse {
  struct Store {
    int64_t block_tokens = 0;
    int64_t extra_tokens =
        0;  // what the windows of a sequence take, in tokens, whatever its length
    std::vector<KvBoundary> boundaries{};
  };
  std::vector<Store> stores{};
  std::optional<KvPressure> pressure{};
  int64_t keep_tokens = 0;    // most tokens that are kept of a sequence; 0: all
  int64_t budget_tokens = 0;  // most that a decode step attends to; 0: all
  int64_t recalibrate = 0;    // every so many tokens it attends to all of them; 0: never
  bool plain = true;

  /// Tokens kept of a sequence that has had `tokens`.
  [[nodiscard]] int64_t Kept(int64_t tokens) const {
    return keep_tokens > 0 ? std::min(tokens, keep_tokens) : tokens;
  }
  /// Blocks that a sequence of `tokens` takes in a store; 0 without tokens.
  [[nodiscard]] int64_t BlocksFor(size_t store, int64_t tokens) const {
    if (tokens == 0) return 0;
    const Store& s = stores[store];
    return (Kept(tokens) + s.extra_tokens + s.block_tokens - 1) / s.block_tokens;
  }
};

/// Every token alike, `block_tokens` to a block.
KvUse PlainKvUse(int64_t block_tokens);

/// A block holds `block_tokens` tokens of the plan's first store, and as many whole tokens of the
/// second as its bytes hold. REQUIRES: block_tokens >= 1.
KvUse MakeKvUse(const KvPlan& plan, const KvElements& elements, int64_t block_tokens);

}  // namespace moecast
