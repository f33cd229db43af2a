#include "kernels/bench/latent_rows.h"

namespace moecast::kernels {

KvMeasurement DescribeLatents(const SuiteContext& context, const LatentScheme& scheme) {
  constexpr int kWidth = kLatentChannels + kRotaryChannels;
  KvMeasurement row;
  row.format = scheme.name;
  row.kv_heads = 1;
  row.head_dim = kWidth;
  row.key_bits = row.value_bits = BitsOf(scheme.element);
  const int32_t group = scheme.element == KvElement::kBf16 ? 0 : kLatentGroup;
  row.group = group;
  row.stored_bits = row.read_bits =
      8.0 * LatentLayoutOf(scheme.element).page_bytes / (kPageTokens * kWidth);
  row.equivalent_bits = (row.key_bits * kLatentChannels + 16.0 * kRotaryChannels) / kWidth;
  row.output_error =
      OutputError(context.kv_accuracy, {.scheme = scheme.name, .head_dim = kWidth, .group = group});
  return row;
}

}  // namespace moecast::kernels
