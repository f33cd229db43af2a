// Request: the immutable facts of one request; progress lives in the engine.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/ids.h"
#include "sim/base/units.h"

namespace moecast {

struct Request {
  RequestId id;
  Time arrival;               // when a closed loop replaces arrivals, the instant it was issued
  int64_t input_tokens = 0;   // in [1, kMaxRequestTokens]
  int64_t output_tokens = 0;  // in [1, kMaxRequestTokens]
  /// Hashes of the prompt's leading blocks (Mooncake's hash_ids); empty when the trace has none.
  std::vector<uint64_t> prefix_blocks;
  int64_t prefix_block_tokens = 0;  // tokens a block hash stands for; 0 without hashes
};

/// Limits of every request format: far above any model's context, far below overflow.
inline constexpr int64_t kMaxRequestTokens = 100'000'000;
inline constexpr Time kMaxArrival{Duration{4'000'000'000'000'000'000}};  // 4e9 s

}  // namespace moecast
