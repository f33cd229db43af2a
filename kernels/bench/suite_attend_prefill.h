// The suite "attend_prefill", see registry.h.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

std::vector<KvMeasurement> RunAttendPrefillSuite(const SuiteContext& context);

}  // namespace moecast::kernels
