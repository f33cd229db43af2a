#include "kernels/bench/kv_rows.h"

#include <stdexcept>

namespace moecast::kernels {

void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows) {
  Measurement timing;
  timing.op = row.op;
  Measure(context.bench, {}, enqueue, timing);
  CopyTiming(timing, row);
  const Status status = CheckAgainstPeak(row, context.peak);
  if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
  rows.push_back(std::move(row));
}

}  // namespace moecast::kernels
