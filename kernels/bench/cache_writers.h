// The kernels that write keys and values: the ones in use, and their first rung. Both must leave
// the same cache; suites name rows of the second by their suffix.
#pragma once

#include "kernels/ops/kv/append.h"
#include "kernels/ops/kv/naive.h"
#include "kernels/ops/kv/pack.h"

namespace moecast::kernels {

struct CacheWriters {
  const char* suffix;
  void (*append)(const AppendArgs& args, cudaStream_t stream);
  void (*pack)(const PackArgs& args, cudaStream_t stream);
};

inline constexpr CacheWriters kWriters{"", AppendTokens, PackTokens};
inline constexpr CacheWriters kNaiveWriters{"_naive", AppendNaive, PackNaive};

}  // namespace moecast::kernels
