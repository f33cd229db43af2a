// The suite "mla", see registry.h.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

std::vector<KvMeasurement> RunMlaSuite(const SuiteContext& context);

}  // namespace moecast::kernels
