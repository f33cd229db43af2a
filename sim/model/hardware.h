// DeviceSpec and FabricSpec: datasheet facts of a GPU and of the links between GPUs.
// Values come from scenarios/catalog/{gpus,fabrics}/*.yaml, each with its source.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sim/base/units.h"
#include "sim/model/tensor_format.h"

namespace moecast {

struct DeviceSpec {
  std::string name{};
  Bytes hbm_capacity{};
  BytesPerSecond hbm_bandwidth{};  // datasheet
  Bytes l2_capacity{};
  int64_t multiprocessors = 0;
  /// Dense peak per ComputeClass; 0: the device has no such unit, and weights made for it are
  /// expanded to another (TensorFormat::otherwise).
  std::array<FlopsPerSecond, kComputeClassCount> peak{};

  [[nodiscard]] FlopsPerSecond peak_of(ComputeClass c) const {
    return peak[static_cast<size_t>(c)];
  }
};

/// The unit of `device` that multiplies weights of this format.
inline ComputeClass UnitFor(const TensorFormat& format, const DeviceSpec& device) {
  for (const ComputeClass unit : {format.compute, format.otherwise}) {
    if (device.peak_of(unit).count() > 0) return unit;
  }
  return ComputeClass::kBf16;
}

/// A symmetric fabric inside one replica: every GPU reaches every other at the same cost.
struct FabricSpec {
  std::string name{};
  BytesPerSecond bandwidth{};  // per GPU and direction, datasheet
  Seconds latency{};           // one message, hardware
};

}  // namespace moecast
