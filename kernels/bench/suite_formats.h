// The suites of the weight formats in the memory-bound regime.
#pragma once

#include <vector>

#include "kernels/bench/suites.h"

namespace moecast::kernels {

/// gate_up, down, experts (both in one launch) and layer for every format over all shapes and 1 to
/// 256 tokens, with the native top-k and half of it; even and skewed loads; the naive products.
/// `bytes` counts weights and their scales as stored. A Suite.
std::vector<Measurement> RunFormatsSuite(const SuiteContext& context);
/// gate_up and down for the formats below bf16 at half octaves and beyond the ends of the counts
/// above; experts beyond their upper end and under even and skewed loads between. A Suite.
std::vector<Measurement> RunFormatsBetweenSuite(const SuiteContext& context);

}  // namespace moecast::kernels
