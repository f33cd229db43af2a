// StepLoad: what a policy may see of a replica when a step starts. No output lengths (INV-5).
#pragma once

#include <cstdint>

#include "sim/base/units.h"

namespace moecast {

struct StepLoad {
  int64_t decode_sequences = 0;  // of the step, all groups together
  int64_t prefill_tokens = 0;
  int64_t waiting_requests = 0;
  Seconds last_gap{};  // length of the replica's previous step that decoded; 0 before the first
  [[nodiscard]] int64_t tokens() const { return decode_sequences + prefill_tokens; }
};

}  // namespace moecast
