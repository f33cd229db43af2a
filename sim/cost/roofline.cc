#include "sim/cost/roofline.h"

#include "sim/base/check.h"

namespace moecast {
namespace {

const ClassEfficiency& EfficiencyOf(OpClass op_class, const Efficiencies& e) {
  switch (op_class) {
    case OpClass::kGemm:
      return e.gemm;
    case OpClass::kExperts:
      return e.experts;
    case OpClass::kRoute:
      return e.route;
    case OpClass::kDecodeAttention:
      return e.decode_attention;
    case OpClass::kPrefillAttention:
      return e.prefill_attention;
    case OpClass::kElementwise:
      return e.elementwise;
  }
  SIM_CHECK(false);
}

bool IsFraction(double x) { return x > 0 && x <= 1; }

}  // namespace

Roofline::Roofline(const DeviceSpec& device, const Efficiencies& efficiencies) {
  SIM_CHECK(device.hbm_bandwidth.count() > 0);
  SIM_CHECK(device.peak_of(ComputeClass::kBf16).count() > 0);
  for (size_t c = 0; c < native_.size(); ++c) native_[c] = device.peak[c].count() > 0;
  for (size_t i = 0; i < unpacking_.size(); ++i) {
    SIM_CHECK(IsFraction(efficiencies.narrow_reads[i]));
    unpacking_[i] = 1 / efficiencies.narrow_reads[i] - 1;
  }
  for (size_t i = 0; i < rates_.size(); ++i) {
    const ClassEfficiency& e = EfficiencyOf(static_cast<OpClass>(i), efficiencies);
    SIM_CHECK(IsFraction(e.memory) && IsFraction(e.compute) && e.fixed.count() >= 0);
    Rates& rates = rates_[i];
    rates.fixed = e.fixed;
    rates.seconds_per_byte = 1 / (device.hbm_bandwidth.count() * e.memory);
    for (size_t c = 0; c < native_.size(); ++c) {
      const FlopsPerSecond peak = native_[c] ? device.peak[c] : device.peak_of(ComputeClass::kBf16);
      rates.seconds_per_flop[c] = 1 / (peak.count() * e.compute);
    }
  }
}

}  // namespace moecast
