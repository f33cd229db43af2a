// Host side of the cache's small floats: float16, in which scales and zeros are stored, and fp8
// e5m2, which is its upper byte. (e4m3 is in expert_gemm/quantise.h.)
#pragma once

#include <cstdint>

namespace moecast::kernels {

/// Nearest float16, ties to even; infinite above 65520. REQUIRES: a number.
uint16_t HalfOf(double value);
double ValueOfHalf(uint16_t bits);

/// Nearest e5m2, ties to even, saturating at 57344. REQUIRES: a number.
uint8_t E5m2Of(double value);
double ValueOfE5m2(uint8_t code);
inline constexpr double kE5m2Max = 57344;

}  // namespace moecast::kernels
