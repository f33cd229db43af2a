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
  int64_t input_tokens = 0;   // >= 1
  int64_t output_tokens = 0;  // >= 1
  /// Hashes of the prompt's leading blocks (Mooncake's hash_ids); empty when the trace has none.
  std::vector<uint64_t> prefix_blocks;
  int64_t prefix_block_tokens = 0;
};

}  // namespace moecast
