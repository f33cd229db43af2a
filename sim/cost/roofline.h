// Roofline: a kernel is bound by memory or by arithmetic, whichever takes longer, plus a fixed
// time. docs/model/roofline.md; [Williams09].
#pragma once

#include <algorithm>
#include <array>

#include "sim/base/units.h"
#include "sim/cost/efficiency.h"
#include "sim/cost/features.h"
#include "sim/model/hardware.h"

namespace moecast {

/// Kernels that share one ClassEfficiency.
enum class OpClass { kGemm, kExperts, kRoute, kDecodeAttention, kPrefillAttention, kElementwise };
inline constexpr int kOpClassCount = 6;

/// The two bounds of one execution, efficiencies applied.
struct Bounds {
  Seconds memory{};
  Seconds compute{};
  [[nodiscard]] Seconds larger() const { return std::max(memory, compute); }
};

/// Rates of one device under stated efficiencies; reciprocals are taken once.
class Roofline {
 public:
  /// REQUIRES: device bandwidth and bf16 peak > 0; every efficiency in (0, 1].
  Roofline(const DeviceSpec& device, const Efficiencies& efficiencies);

  [[nodiscard]] Bounds BoundsOf(OpClass op_class, const OpFeatures& f) const {
    const Rates& rates = rates_[static_cast<size_t>(op_class)];
    const bool expanded = f.expanded || !native(f.compute);
    const double seconds_per_flop = rates.seconds_per_flop[static_cast<size_t>(UnitOf(f))];
    return {
        .memory = Seconds((f.bytes.count() + Unpacking(f)) * rates.seconds_per_byte),
        .compute = Seconds(f.flops.count() * seconds_per_flop / (expanded ? f.expanded_rate : 1))};
  }
  /// RETURNS: fixed + max(memory, compute), at least the roofline bound (INV-6).
  [[nodiscard]] Seconds Time(OpClass op_class, const OpFeatures& f) const {
    return fixed(op_class) + BoundsOf(op_class, f).larger();
  }
  [[nodiscard]] Seconds fixed(OpClass op_class) const {
    return rates_[static_cast<size_t>(op_class)].fixed;
  }
  /// Whether the device has this unit; if not, weights made for it are read in their stored size
  /// and multiplied by another.
  [[nodiscard]] bool native(ComputeClass compute) const {
    return native_[static_cast<size_t>(compute)];
  }
  /// The unit that runs the arithmetic of `f` on this device.
  [[nodiscard]] ComputeClass UnitOf(const OpFeatures& f) const {
    if (native(f.compute)) return f.compute;
    return native(f.otherwise) ? f.otherwise : ComputeClass::kBf16;
  }

 private:
  struct Rates {
    double seconds_per_byte = 0;
    std::array<double, kComputeClassCount> seconds_per_flop{};
    Seconds fixed;
  };
  /// Bytes that could be read in the time that narrow codes take beyond their own.
  [[nodiscard]] double Unpacking(const OpFeatures& f) const {
    double bytes = 0;
    for (size_t i = 0; i < kNarrowWidthCount; ++i) bytes += f.narrow_bytes[i] * unpacking_[i];
    return bytes;
  }

  std::array<Rates, kOpClassCount> rates_;
  std::array<bool, kComputeClassCount> native_{};
  std::array<double, kNarrowWidthCount> unpacking_{};  // of a byte in codes of each width
};

}  // namespace moecast
