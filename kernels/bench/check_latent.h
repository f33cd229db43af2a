// The comparison of appended latents and of rotated heads with their float64 reference.
#pragma once

#include <functional>
#include <string>

#include "kernels/harness/stream.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

/// ERRORS: throws std::runtime_error with the first difference.
void CheckLatents(RngStream& rng, const Stream& stream,
                  const std::function<void(const std::string& line)>& report);
void CheckRotation(RngStream& rng, const Stream& stream,
                   const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
