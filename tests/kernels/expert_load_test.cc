// Loads, bytes and operations, and the reuse of weights between launches.
#include "kernels/harness/expert_load.h"

#include <gtest/gtest.h>

#include <array>

#include "sim/base/rng.h"

namespace moecast::kernels {
namespace {

TEST(ExpertLoad, CountsAssignmentsExpertsPaddingAndTheFullest) {
  const std::array<int32_t, 4> offsets{0, 1, 10, 18};  // loads 1, 9, 8
  const ExpertLoad load = LoadOf(offsets);
  EXPECT_DOUBLE_EQ(load.assignments, 18);
  EXPECT_DOUBLE_EQ(load.distinct, 3);
  EXPECT_DOUBLE_EQ(load.padded_rows, 8 + 16 + 8);
  EXPECT_DOUBLE_EQ(load.max_load, 9);
}

TEST(ExpertLoad, MeanIsTakenPerQuantity) {
  const std::array<ExpertLoad, 2> loads{ExpertLoad{2, 1, 8, 2}, ExpertLoad{4, 3, 24, 2}};
  const ExpertLoad mean = MeanLoad(loads);
  EXPECT_DOUBLE_EQ(mean.assignments, 3);
  EXPECT_DOUBLE_EQ(mean.distinct, 2);
  EXPECT_DOUBLE_EQ(mean.padded_rows, 16);
  EXPECT_DOUBLE_EQ(mean.max_load, 2);
}

TEST(Traffic, ProductsReadEveryActiveExpertOnceAndMultiplyEveryAssignment) {
  const ExpertShape shape{.tokens = 2, .top_k = 2, .experts = 8, .hidden = 64, .intermediate = 32};
  const ExpertLoad load{.assignments = 3, .distinct = 2, .padded_rows = 16, .max_load = 2};
  const Traffic up = GateUpTraffic(shape, load);
  EXPECT_DOUBLE_EQ(up.bytes, 2 * (2 * 2 * 64 * 32 + 2 * 64 + 3 * 32));
  EXPECT_DOUBLE_EQ(up.flops, 2 * 3 * 2 * 64 * 32);
  const Traffic down = DownTraffic(shape, load);
  EXPECT_DOUBLE_EQ(down.bytes, 2 * (2 * 64 * 32 + 3 * (64 + 32)));
  EXPECT_DOUBLE_EQ(down.flops, 2 * 3 * 64 * 32);
}

TEST(Traffic, LayerIsTheSumOfItsKernels) {
  const ExpertShape shape{
      .tokens = 16, .top_k = 8, .experts = 64, .hidden = 256, .intermediate = 128};
  const ExpertLoad load{.assignments = 90, .distinct = 50, .padded_rows = 400, .max_load = 5};
  const double parts = RouteTraffic(shape).bytes + GateUpTraffic(shape, load).bytes +
                       DownTraffic(shape, load).bytes + CombineTraffic(shape, load).bytes;
  EXPECT_DOUBLE_EQ(LayerTraffic(shape, load).bytes, parts);
}

TEST(WarmRatio, IsZeroForARingLongerThanTheWindowAndOneForAShorter) {
  const std::vector<TouchedWeights> ring{{0, 1}, {2, 3}, {4, 5}, {6, 7}};
  // Between two uses of a weight lie the 7 others.
  EXPECT_DOUBLE_EQ(WarmRatio(ring, 1, 7), 0);
  EXPECT_DOUBLE_EQ(WarmRatio(ring, 1, 7.5), 1);
}

TEST(WarmRatio, CountsDistinctWeightsBetweenUsesNotReads) {
  // 0 returns after reading 1 five times: one other weight.
  const std::vector<TouchedWeights> ring{{0}, {1}, {1}, {1}, {1}, {1}};
  EXPECT_DOUBLE_EQ(WarmRatio(ring, 1, 1), 4.0 / 6);
  EXPECT_DOUBLE_EQ(WarmRatio(ring, 1, 2), 1);
}

TEST(WarmRatio, GrowsWithTheWindow) {
  RngStream rng({.seed = 11}, "test/warm");
  std::vector<TouchedWeights> ring(12);
  for (TouchedWeights& launch : ring) {
    for (int i = 0; i < 5; ++i) launch.push_back(static_cast<int64_t>(rng.NextBelow(40)));
  }
  double before = 0;
  for (double window = 0; window < 45; window += 1) {
    const double ratio = WarmRatio(ring, 1, window);
    EXPECT_GE(ratio, before);
    before = ratio;
  }
  EXPECT_DOUBLE_EQ(before, 1);
}

TEST(WarmRatio, IsZeroWhenNothingIsRead) {
  EXPECT_DOUBLE_EQ(WarmRatio(std::vector<TouchedWeights>(3), 1, 100), 0);
}

}  // namespace
}  // namespace moecast::kernels
