#include "kernels/bench/kv_rows.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/ops/kv/kv_bits.h"

namespace moecast::kernels {

FittedScheme Fitted(const NamedScheme& named, int head_dim) {
  return {.name = named.name, .layer = named.layer, .scheme = ForHeads(named.scheme, head_dim)};
}

KvMeasurement DescribeCache(const SuiteContext& context, const FittedScheme& fitted,
                            const KvShape& shape, const EvenContext& cached) {
  const KvScheme& scheme = fitted.scheme;
  KvMeasurement row;
  row.format = fitted.name;
  row.sequences = static_cast<double>(cached.sequences);
  row.cached_tokens = static_cast<double>(cached.sequences * cached.tokens);
  row.max_context = static_cast<double>(cached.tokens);
  row.kv_heads = shape.kv_heads;
  row.head_dim = shape.head_dim;
  row.key_bits = BitsOf(scheme.keys.element);
  row.value_bits = BitsOf(scheme.values.element);
  row.group = scheme.keys.group;
  row.residual = scheme.window.recent + scheme.window.flush;
  const int64_t tokens = std::max<int64_t>(cached.tokens, 1);
  row.stored_bits = StoredBits(scheme, shape.head_dim, tokens);
  row.read_bits = ReadBits(scheme, shape.head_dim, tokens);
  row.equivalent_bits = EquivalentBits(scheme);
  row.output_error = OutputError(context.kv_accuracy, {.scheme = fitted.name,
                                                       .layer = fitted.layer,
                                                       .head_dim = shape.head_dim,
                                                       .group = scheme.values.group});
  return row;
}

void AppendMeasured(const SuiteContext& context, const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows) {
  AppendMeasured(context, ReplayPlan{}, enqueue, std::move(row), rows);
}

void AppendMeasured(const SuiteContext& context, const ReplayPlan& plan,
                    const EnqueueLaunch& enqueue, KvMeasurement row,
                    std::vector<KvMeasurement>& rows) {
  Measure(context.bench, plan, enqueue, row);
  const Status status = CheckAgainstPeak(row, context.peak);
  if (!status.ok()) throw std::runtime_error(ToString(status.errors()));
  rows.push_back(std::move(row));
}

}  // namespace moecast::kernels
