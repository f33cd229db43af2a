#include "kernels/ops/kv/small_float.h"

#include <algorithm>
#include <cmath>

namespace moecast::kernels {
namespace {

constexpr int kBias = 15;
constexpr int kHalfMantissa = 10;
constexpr int kE5m2Mantissa = 2;

// Bits of |value| in a format of 5 exponent and `mantissa` bits; overflow gives infinity's.
uint32_t Magnitude(double value, int mantissa) {
  if (value == 0) return 0;
  int exponent = 0;
  std::frexp(std::abs(value), &exponent);  // value = [1/2, 1) 2^exponent
  const int of_unit = std::max(exponent - 1, 1 - kBias) - mantissa;
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(std::abs(value), -of_unit)));
  // A carry out of the mantissa is the next exponent; a subnormal has none added.
  const uint32_t bits =
      units + (static_cast<uint32_t>(of_unit + mantissa - (1 - kBias)) << mantissa);
  return std::min(bits, 31U << mantissa);
}

}  // namespace

uint16_t HalfOf(double value) {
  const uint32_t sign = std::signbit(value) ? 0x8000U : 0U;
  return static_cast<uint16_t>(sign | Magnitude(value, kHalfMantissa));
}

double ValueOfHalf(uint16_t bits) {
  const int exponent = bits >> kHalfMantissa & 31;
  const int mantissa = bits & 0x3ff;
  const double magnitude = exponent == 31 ? (mantissa == 0 ? HUGE_VAL : std::nan(""))
                           : exponent == 0
                               ? std::ldexp(mantissa, 1 - kBias - kHalfMantissa)
                               : std::ldexp(0x400 + mantissa, exponent - kBias - kHalfMantissa);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

uint8_t E5m2Of(double value) {
  constexpr uint32_t kLargest = 0x7b;
  const uint32_t sign = std::signbit(value) ? 0x80U : 0U;
  return static_cast<uint8_t>(sign | std::min(Magnitude(value, kE5m2Mantissa), kLargest));
}

double ValueOfE5m2(uint8_t code) { return ValueOfHalf(static_cast<uint16_t>(code << 8)); }

}  // namespace moecast::kernels
