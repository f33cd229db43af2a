// The comparison of dense products with float64.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// A Check of registry.h: bf16 and fp8, from one token to more than a tile. Says so where the
/// library is absent.
void CheckDense(uint64_t seed, const Stream& stream,
                const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
