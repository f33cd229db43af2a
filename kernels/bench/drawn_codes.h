// What drawn caches of the checks share: bytes by place, finite random codes, codes as numbers.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/ops/kv/kv_scheme.h"
#include "sim/base/rng.h"

namespace moecast::kernels {

/// About the largest magnitude of drawn keys, values and latents.
inline constexpr double kDrawnMagnitude = 2;

template <class T>
T At(const std::vector<uint8_t>& bytes, int64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}
template <class T>
void Put(std::vector<uint8_t>& bytes, int64_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

double DrawBetween(RngStream& rng, double low, double high);

/// A scale that puts codes of an element into about kDrawnMagnitude.
double DrawScale(KvElement element, RngStream& rng);

/// Fills [at, at + count) with codes that are numbers: every byte of integers and fp8, pairs of
/// bytes of bf16.
void DrawCodes(KvElement element, int64_t at, int64_t count, RngStream& rng,
               std::vector<uint8_t>& bytes);

/// The number in the low bits of `word`, before scale and zero.
double CodeValue(KvElement element, uint32_t word);

/// 0 .. count - 1 in random order.
std::vector<int32_t> Shuffled(size_t count, RngStream& rng);

}  // namespace moecast::kernels
