#include "sim/cost/roofline.h"

#include <gtest/gtest.h>

#include "tests/sim/cost/cost_builders.h"

namespace moecast {
namespace {

TEST(Roofline, TheLargerBoundPlusTheFixedTime) {
  Efficiencies e = test::Ideal();
  e.gemm = {.memory = 0.5, .compute = 0.25, .fixed = Seconds(3e-6)};
  const Roofline roofline(test::TinyDevice(), e);  // 1 GB/s, 1 Tflop/s
  const OpFeatures memory_bound{.bytes = Bytes(1000), .flops = Flops(1)};
  const OpFeatures compute_bound{.bytes = Bytes(1), .flops = Flops(1e7)};
  EXPECT_DOUBLE_EQ(roofline.Time(OpClass::kGemm, memory_bound).count(), 3e-6 + 2e-6);
  EXPECT_DOUBLE_EQ(roofline.Time(OpClass::kGemm, compute_bound).count(), 3e-6 + 4e-5);
}

TEST(Roofline, EachClassHasItsOwnEfficiency) {
  Efficiencies e = test::Ideal();
  e.decode_attention.memory = 0.1;
  const Roofline roofline(test::TinyDevice(), e);
  const OpFeatures f{.bytes = Bytes(1000)};
  EXPECT_DOUBLE_EQ(roofline.Time(OpClass::kDecodeAttention, f).count(), 1e-5);
  EXPECT_DOUBLE_EQ(roofline.Time(OpClass::kElementwise, f).count(), 1e-6);
}

TEST(Roofline, AClassTheDeviceLacksRunsAtTheBf16RateAndReadsItsStoredBytes) {
  DeviceSpec device = test::TinyDevice();
  device.peak[static_cast<size_t>(ComputeClass::kFp8)] = FlopsPerSecond(0);
  const Roofline roofline(device, test::Ideal());
  EXPECT_FALSE(roofline.native(ComputeClass::kFp8));
  EXPECT_TRUE(roofline.native(ComputeClass::kInt8));
  const OpFeatures f{.bytes = Bytes(10), .flops = Flops(1e9), .compute = ComputeClass::kFp8};
  EXPECT_DOUBLE_EQ(roofline.BoundsOf(OpClass::kGemm, f).compute.count(), 1e-3);
  EXPECT_DOUBLE_EQ(roofline.BoundsOf(OpClass::kGemm, f).memory.count(), 1e-8);
}

}  // namespace
}  // namespace moecast
