// Any text read as a profile: an error or a profile that can be written and asked.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "calibration/profile_text.h"
#include "scenarios/profile_codec.h"
#include "sim/cost/kernel_curve.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto profile = moecast::ParseProfile(text, "fuzz.yaml");
  if (!profile.ok()) return 0;
  static_cast<void>(moecast::calibration::ProfileYaml(*profile));
  for (const moecast::KernelProfile& kernel : profile->kernels) {
    const moecast::KernelCurve curve(kernel);
    for (const moecast::ShapeProfile& shape : kernel.shapes) {
      moecast::KernelFeatures launch = shape.shape;
      launch[moecast::Feature::kMultiprocessors] = 1;
      static_cast<void>(curve.At(launch, curve.FindShape(launch), 0));
    }
  }
  return 0;
}
