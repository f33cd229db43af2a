// Float64 reference of sampling: sorts the row.
#pragma once

#include <cstdint>
#include <span>

namespace moecast::kernels::reference {

struct SampleRule {
  double temperature = 0;
  int32_t top_k = 0;
  double top_p = 1;
  double uniform = 0;
};

struct Sampled {
  int32_t token = 0;
  /// Distance of the draw from the next token's interval, and of the kept weight from another cut
  /// by top_p, both over the kept weight. Below the arithmetic's error another token may be right.
  double margin = 0;
};

/// See ops/sample/sample.h. REQUIRES: at least one finite logit.
Sampled Sample(std::span<const double> logits, const SampleRule& rule);

}  // namespace moecast::kernels::reference
