// The comparison of the copies and gates between the ops of a step with what they should hold.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// SwiGlu, AssembleKeys, PlaceRotary and GatherContext of a bf16 cache on small shapes.
/// ERRORS: throws std::runtime_error that names the first difference.
void CheckGlue(uint64_t seed, const Stream& stream,
               const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
