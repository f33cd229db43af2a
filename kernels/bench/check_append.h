// The comparison of appended, flushed and packed caches with their float64 reference: scales and
// zeros to a unit in the last place, codes exact under the kernel's own scales, windows bit by bit.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// Every element, axis and group, with and without window, shared codes, heads of 64 and 128,
/// lengths off every page, chunks that start anywhere, padding rows; then latents and rotation.
/// A Check of registry.h.
void CheckAppend(uint64_t seed, const Stream& stream,
                 const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
