// Bits that look random, for data whose only use is not to be zero: the fills of benches.
#pragma once

#include <cstdint>

namespace moecast::kernels {

/// The finaliser of SplitMix64. [Steele14]
__device__ inline uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Of the low 24 bits: a number in [-1, 1).
__device__ inline float Uniform(uint64_t bits) {
  return static_cast<float>(bits & 0xffffffU) * 0x1p-23F - 1.0F;
}

}  // namespace moecast::kernels
