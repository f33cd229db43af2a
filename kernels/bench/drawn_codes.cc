#include "kernels/bench/drawn_codes.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cmath>
#include <numeric>

namespace moecast::kernels {
namespace {

double LargestCode(KvElement element) {
  constexpr double kLargestE4m3 = 448;
  constexpr double kLargestE5m2 = 57344;
  if (element == KvElement::kE4m3) return kLargestE4m3;
  if (element == KvElement::kE5m2) return kLargestE5m2;
  return std::ldexp(1.0, BitsOf(element)) - 1;
}

}  // namespace

double DrawBetween(RngStream& rng, double low, double high) {
  return low + (high - low) * rng.NextUniform();
}

double DrawScale(KvElement element, RngStream& rng) {
  return DrawBetween(rng, 1, 2) * kDrawnMagnitude / LargestCode(element);
}

void DrawCodes(KvElement element, int64_t at, int64_t count, RngStream& rng,
               std::vector<uint8_t>& bytes) {
  constexpr uint8_t kE4m3NotANumber = 0x7f;
  constexpr uint8_t kE5m2Exponent = 0x7c;
  const int64_t step = element == KvElement::kBf16 ? 2 : 1;
  for (const int64_t end = at + count; at < end; at += step) {
    if (element == KvElement::kBf16) {
      const double value = DrawBetween(rng, -kDrawnMagnitude, kDrawnMagnitude);
      Put(bytes, at, __float2bfloat16(static_cast<float>(value)));
      continue;
    }
    auto code = static_cast<uint8_t>(DrawBetween(rng, 0, 256));
    if (element == KvElement::kE4m3 && (code & kE4m3NotANumber) == kE4m3NotANumber) code = 0;
    if (element == KvElement::kE5m2 && (code & kE5m2Exponent) == kE5m2Exponent) code = 0;
    Put(bytes, at, code);
  }
}

double CodeValue(KvElement element, uint32_t word) {
  if (element == KvElement::kBf16) {
    const __nv_bfloat16_raw raw{.x = static_cast<uint16_t>(word)};
    return static_cast<double>(__bfloat162float(__nv_bfloat16(raw)));
  }
  if (!IsFp8(element)) return word & ((1U << BitsOf(element)) - 1);
  const __half_raw half = __nv_cvt_fp8_to_halfraw(
      static_cast<__nv_fp8_storage_t>(word), element == KvElement::kE4m3 ? __NV_E4M3 : __NV_E5M2);
  return static_cast<double>(__half2float(__half(half)));
}

std::vector<int32_t> Shuffled(size_t count, RngStream& rng) {
  std::vector<int32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = count; i > 1; --i)
    std::swap(order[i - 1], order[static_cast<size_t>(static_cast<double>(i) * rng.NextUniform())]);
  return order;
}

}  // namespace moecast::kernels
