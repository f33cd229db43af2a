#include "sim/metrics/summary.h"

namespace moecast {

Latency Summarise(const SampleSet& samples) {
  if (samples.count() == 0) return {};
  return {.mean = samples.mean(),
          .median = samples.Quantile(0.5),
          .std = samples.standard_deviation(),
          .p90 = samples.Quantile(0.9),
          .p95 = samples.Quantile(0.95),
          .p99 = samples.Quantile(0.99),
          .max = samples.max(),
          .count = samples.count(),
          .exact = samples.exact()};
}

bool MeetsSlo(const RequestRecord& record, const Slo& slo) {
  if (slo.ttft && record.ttft() > *slo.ttft) return false;
  if (slo.e2e && record.e2e() > *slo.e2e) return false;
  if (!slo.tpot || record.generated_tokens <= 1) return true;
  return record.e2e() - record.ttft() <= *slo.tpot * (record.generated_tokens - 1);
}

}  // namespace moecast
