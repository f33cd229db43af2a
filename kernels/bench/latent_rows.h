// The columns that rows of latents share, whatever is done with them.
#pragma once

#include "kernels/bench/suites.h"
#include "kernels/harness/kv_measurement.h"
#include "kernels/ops/kv/latent_layout.h"

namespace moecast::kernels {

struct LatentScheme {
  const char* name;  // the `format` of a row
  KvElement element;
};
inline constexpr LatentScheme kLatentSchemes[] = {
    {"mla_bf16", KvElement::kBf16}, {"mla_fp8", KvElement::kE4m3}, {"mla_int4", KvElement::kInt4}};

/// Heads, bits, group and error of the output on real-shaped data from the committed table.
KvMeasurement DescribeLatents(const SuiteContext& context, const LatentScheme& scheme);

}  // namespace moecast::kernels
