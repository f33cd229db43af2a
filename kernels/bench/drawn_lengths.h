// Lengths of sequences as requests have them: drawn, the same in every run.
#pragma once

#include <cstdint>
#include <vector>

namespace moecast::kernels {

/// Lengths whose logarithms are normal with that deviation and whose mean is near `mean`, at least
/// 1 each, by Box and Muller's transform.                                           [BoxMuller58]
std::vector<int32_t> LognormalLengths(int32_t sequences, int32_t mean, double deviation);

}  // namespace moecast::kernels
