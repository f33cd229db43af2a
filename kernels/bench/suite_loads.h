// The suites "loads" and "prefill_loads", see registry.h.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"

namespace moecast::kernels {

std::vector<Measurement> RunLoadsSuite(const SuiteContext& context);
std::vector<Measurement> RunPrefillLoadsSuite(const SuiteContext& context);

}  // namespace moecast::kernels
