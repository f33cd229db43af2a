// The suite "prefill", see registry.h.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"

namespace moecast::kernels {

std::vector<Measurement> RunPrefillSuite(const SuiteContext& context);

}  // namespace moecast::kernels
