// What pages hold behind the ends of their sequences. Attention multiplies it by zero, so it must
// be numbers: a launch leaves there zeros or what it finds (docs/formats/kv_pages.md), and pools
// begin as zeros. A pool that begins as 0xff, which is no number at 16 bits and in fp8, shows
// whoever writes something else.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/bench/kv_pool.h"

namespace moecast::kernels {

/// Codes, scales and zeros of the tokens behind the end in every sequence's last page: of the ring
/// where there is a window, whose quantised pages are always full.
class KvTails {
 public:
  /// Those behind `lengths` tokens. 0: a sequence without pages.
  KvTails(const KvPool& pool, const KvShape& shape, const KvScheme& scheme,
          std::span<const int32_t> lengths);

  /// Of the same pool and lengths. ERRORS: throws with `what`, the page's sequence, head and side,
  /// unless every code, scale and zero is zero or what it was `before`.
  void RequireZeroOr(const KvTails& before, const std::string& what) const;

 private:
  struct Tail {
    std::string where;
    std::vector<uint32_t> numbers;  // codes, then metadata, token by token
  };
  std::vector<Tail> tails_;
};

}  // namespace moecast::kernels
