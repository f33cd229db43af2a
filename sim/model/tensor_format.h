// How a class of tensors is stored and computed with. Facts come from
// scenarios/catalog/formats.yaml; docs/model/formats.md has the equations.
#pragma once

#include <string>
#include <string_view>

namespace moecast {

/// Which arithmetic unit a GEMM runs on; a DeviceSpec has one peak rate per class. kHif8 and kHif4
/// are the HiFloat units of Ascend, which no GPU has.
enum class ComputeClass { kBf16, kFp8, kInt8, kFp4, kInt4, kHif8, kHif4 };
inline constexpr int kComputeClassCount = 7;
/// "bf16", "int4", ...: as scenarios write it.
std::string_view ComputeClassName(ComputeClass compute);

/// A named storage format. Storage and arithmetic are separate facts: where a device lacks the unit
/// `compute`, the stored bits are read and expanded, inside the product, to `otherwise` (and to
/// bf16 where that is lacking too).
struct TensorFormat {
  std::string name{};                            // "bf16", "fp8", "mxfp4", ...
  double stored_bits = 0;                        // per element in memory, metadata included
  ComputeClass compute = ComputeClass::kBf16;    // unit that multiplies it where there is one
  ComputeClass otherwise = ComputeClass::kBf16;  // unit it is expanded to where there is none
  bool expanded = false;     // its elements are no operand of `compute`: expanded on every device
  double expanded_rate = 1;  // share of a unit's rate that is left while elements are expanded
  double input_bits = 0;     // per activation that its product reads; 0: as between ops

  [[nodiscard]] double bytes_per_element() const { return stored_bits / 8.0; }
  /// Bytes of one activation entering the product, given those of one between ops.
  [[nodiscard]] double input_bytes(double activation_bytes) const {
    return input_bits > 0 ? input_bits / 8.0 : activation_bytes;
  }
};

}  // namespace moecast
