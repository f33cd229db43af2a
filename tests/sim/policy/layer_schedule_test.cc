#include "sim/policy/experts/layer_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/support/property.h"

namespace moecast {
namespace {

std::vector<int32_t> Layers(int32_t first, int32_t end) {
  std::vector<int32_t> layers(static_cast<size_t>(end - first));
  std::iota(layers.begin(), layers.end(), first);
  return layers;
}

int64_t Between(RngStream& rng, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(high - low + 1)));
}

TEST(LayerScheduleFromTuple, RampsDoNotReachTheirEndsAndRoundHalfToEven) {
  // Layers 1-4 step from 2 towards 4 by 1/2, layers 5-8 from 4 towards 2: 2.5 and 3.5 go to even.
  const ScheduleTuple tuple{.b = 2, .h = 4, .e = 2, .p = 4};
  EXPECT_EQ(LayerScheduleFromTuple(tuple, 9, Layers(1, 9)),
            (std::vector<int64_t>{2, 2, 3, 4, 4, 4, 3, 2}));
}

TEST(LayerScheduleFromTuple, LaterMoeLayersEnterTheRampWhereTheirModelLayerLies) {
  const ScheduleTuple tuple{.b = 2, .h = 8, .e = 5, .p = 30};
  const std::vector<int64_t> whole = LayerScheduleFromTuple(tuple, 61, Layers(1, 61));
  const std::vector<int64_t> from_third = LayerScheduleFromTuple(tuple, 61, Layers(3, 61));
  EXPECT_EQ(from_third, std::vector<int64_t>(whole.begin() + 2, whole.end()));
}

TEST(LayerScheduleFromTuple, AFirstRampOverEveryLayerMakesTheEndIrrelevant) {
  const std::vector<int32_t> layers = Layers(1, 27);
  EXPECT_EQ(LayerScheduleFromTuple({.b = 6, .h = 2, .e = 2, .p = 26}, 27, layers),
            LayerScheduleFromTuple({.b = 6, .h = 2, .e = 6, .p = 99}, 27, layers));
}

TEST(LayerScheduleFromTuple, AnMoeLayerZeroTakesTheStart) {
  EXPECT_EQ(LayerScheduleFromTuple({.b = 3, .h = 1, .e = 1, .p = 2}, 3, Layers(0, 3)),
            (std::vector<int64_t>{3, 3, 2}));
}

TEST(LayerScheduleFromTuple, ValuesStayBetweenTheThreeCorners) {
  test::ForAll("policy/tuple", {.cases = 500}, [](RngStream& rng) {
    const ScheduleTuple tuple{.b = Between(rng, 1, 12),
                              .h = Between(rng, 1, 12),
                              .e = Between(rng, 1, 12),
                              .p = Between(rng, 0, 70)};
    const auto model_layers = static_cast<int32_t>(Between(rng, 2, 64));
    const auto schedule = LayerScheduleFromTuple(tuple, model_layers, Layers(0, model_layers));
    for (const int64_t k : schedule) {
      EXPECT_GE(k, std::min({tuple.b, tuple.h, tuple.e}));
      EXPECT_LE(k, std::max({tuple.b, tuple.h, tuple.e}));
    }
  });
}

}  // namespace
}  // namespace moecast
