// Suite of decode attention over a paged cache.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

std::vector<KvMeasurement> RunAttendSuite(const SuiteContext& context);

}  // namespace moecast::kernels
