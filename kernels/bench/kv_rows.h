// What every suite of the KV path needs to make a row.
#pragma once

#include <string>
#include <vector>

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"
#include "kernels/harness/kv_schemes.h"
#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// A named scheme at one head width.
struct FittedScheme {
  std::string name;
  std::string layer;
  KvScheme scheme = {};
};
FittedScheme Fitted(const NamedScheme& named, int head_dim);

/// Sequences of one length.
struct EvenContext {
  int64_t sequences = 0;
  int64_t tokens = 0;  // cached before the launch
};

/// The columns that follow from scheme and context: bits, groups, window, error of the output on
/// real-shaped data from the committed table.
KvMeasurement DescribeCache(const SuiteContext& context, const FittedScheme& scheme,
                            const KvShape& shape, const EvenContext& cached);

/// Measures, and appends the row with its timing. The caller has filled the other columns and
/// rotates its buffers by the launch number so that what should be cold is.
/// ERRORS: throws when the row exceeds the card's peak.
void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows);
/// The same with another plan than the default one.
void AppendMeasured(const SuiteContext& context, const ReplayPlan& plan,
                    const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows);

}  // namespace moecast::kernels
