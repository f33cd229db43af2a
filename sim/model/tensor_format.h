// How a class of tensors is stored and computed with. Facts come from
// scenarios/catalog/formats.yaml.
#pragma once

#include <string>

namespace moecast {

/// Which arithmetic unit a GEMM runs on; a DeviceSpec has one peak rate per class.
enum class ComputeClass { kBf16, kFp8, kInt8, kFp4 };
inline constexpr int kComputeClassCount = 4;

/// A named storage format: `stored_bits` per element including scales and zero points.
struct TensorFormat {
  std::string name{};                          // "bf16", "fp8", "mxfp4", ...
  double stored_bits = 0;                      // bits per element in memory, metadata included
  ComputeClass compute = ComputeClass::kBf16;  // unit that multiplies it after any dequantisation

  [[nodiscard]] double bytes_per_element() const { return stored_bits / 8.0; }
};

}  // namespace moecast
