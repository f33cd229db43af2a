// Generates routing with given statistics, chunk by chunk. docs/model.md, "Synthetic routing".
#pragma once

#include <cstdint>

#include "sim/base/rng.h"
#include "traces/routing_chunk.h"
#include "traces/routing_source_spec.h"

namespace moecast {

class RoutingSynthesiser {
 public:
  /// REQUIRES: header.experts >= header.top_k >= 1, parameters in their stated ranges.
  RoutingSynthesiser(const SyntheticRouting& spec, RoutingHeader header, Seed seed);
  [[nodiscard]] const RoutingHeader& header() const { return header_; }
  /// The next sequence's prefill or decode chunk; false when all sequences are done.
  bool Next(RoutingChunk& chunk);

 private:
  SyntheticRouting spec_;
  RoutingHeader header_;
  Seed seed_;
  int64_t next_ = 0;
};

}  // namespace moecast
