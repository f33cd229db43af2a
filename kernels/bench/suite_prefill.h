// The suites "prefill" and "prefill_between", see registry.h.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"

namespace moecast::kernels {

std::vector<Measurement> RunPrefillSuite(const SuiteContext& context);
/// Products and layer with the native top-k, at token counts between those of "prefill". A Suite.
std::vector<Measurement> RunPrefillBetweenSuite(const SuiteContext& context);

}  // namespace moecast::kernels
