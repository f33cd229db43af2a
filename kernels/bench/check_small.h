// The comparison of norm, rotary embedding and sampling with their float64 references.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// A Check of registry.h: odd sizes, both forms of every op, outputs poisoned first.
void CheckSmall(uint64_t seed, const Stream& stream,
                const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
