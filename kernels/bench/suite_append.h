// Suite of what writes the cache: a decode step's append, the flush of windows, a prefill's pack.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

std::vector<KvMeasurement> RunAppendSuite(const SuiteContext& context);

}  // namespace moecast::kernels
