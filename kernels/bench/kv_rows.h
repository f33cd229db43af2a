// What every suite of the KV path needs to make a row.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"

namespace moecast::kernels {

/// Measures, and appends the row with its timing. The caller has filled the other columns and
/// rotates its buffers by the launch number so that what should be cold is.
/// ERRORS: throws when the row exceeds the card's peak.
void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows);

}  // namespace moecast::kernels
