// What a decode attention is asked to do, apart from where its operands lie. Shared by the kernel,
// its planner and its reference.
#pragma once

#include <cstdint>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// Most sequences of one launch, and query heads of a KV head.
inline constexpr int kMostSequences = 1024;
inline constexpr int kMostQueriesPerHead = 16;

struct AttendShape {
  int32_t sequences = 0;
  int32_t query_heads = 0;
  KvShape kv = {};

  bool operator==(const AttendShape&) const = default;
};

constexpr int QueriesPerHead(const AttendShape& shape) {
  return shape.query_heads / shape.kv.kv_heads;
}

/// Sliding window: token t of a sequence of `length` is seen when t < sink or t >= length - window.
/// window 0: all are.
struct VisibleTokens {
  int32_t sink = 0;
  int32_t window = 0;

  bool operator==(const VisibleTokens&) const = default;
};

/// Block-sparse attention: of the tokens in the cache's pages (KvCache::pages) only those of the
/// listed pages are seen; a scheme's bf16 window is seen whole. Device memory.
struct PageSelection {
  const int32_t* pages = nullptr;   // [sequences][pages_per_sequence] token / 64, ascending, unique
  const int32_t* counts = nullptr;  // [sequences]; nullptr: every page is seen
  int32_t pages_per_sequence = 0;
};

/// Whether the kernel takes a shape with a scheme.
constexpr bool Fits(const AttendShape& shape, const KvScheme& scheme) {
  return shape.sequences >= 0 && shape.sequences <= kMostSequences && shape.kv.kv_heads > 0 &&
         shape.query_heads % shape.kv.kv_heads == 0 &&
         QueriesPerHead(shape) <= kMostQueriesPerHead && Fits(scheme, shape.kv.head_dim);
}

}  // namespace moecast::kernels
