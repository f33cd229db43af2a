// The comparison of decode attention with its float64 reference.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/bench/case_range.h"
#include "kernels/harness/stream.h"

namespace moecast::kernels {

/// Every pair of widths, ratio of heads, head dimension, window and selection on short sequences,
/// lengths off the page, work that ends inside warps and blocks or just with them. Outputs are
/// poisoned first; what belongs to an empty sequence must stay so. A CheckOfCases of registry.h.
void CheckAttend(uint64_t seed, const CaseRange& cases, const Stream& stream,
                 const std::function<void(const std::string& line)>& report);

}  // namespace moecast::kernels
