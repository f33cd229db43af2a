// The comparison of the expert products in every weight format with the float64 products of the
// format's own numbers, which precedes any timing of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// Small shapes in all formats: tails of stages, groups and blocks, experts with 1 to 130 rows,
/// skipped slots. Outputs are poisoned first; act and y are each compared on the kernel's own
/// inputs within 3e-3 relative; the launch of both products must repeat the two launches bit by
/// bit and leave its handoff at zero. A Check of registry.h.
/// ERRORS: throws std::runtime_error that names the format, the case and the difference.
void CheckFormats(uint64_t seed, const Stream& stream,
                  const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
