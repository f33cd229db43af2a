#include "sim/cost/collective.h"

#include <gtest/gtest.h>

#include "tests/sim/cost/cost_builders.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

/// 100 MB/s per direction at half efficiency, 1 us per message, 2 us per collective.
CollectiveCost Tiny() {
  return {test::TinyFabric(), {.memory = 0.5, .compute = 1, .fixed = Seconds(2e-6)}};
}

double Microseconds(CollectiveKind kind, int64_t ranks, double bytes) {
  return Tiny().Time({.kind = kind, .ranks = ranks, .bytes = bytes}).count() * 1e6;
}

TEST(Collective, AllReduceOnTwoGpusByHand) {
  // Direct: each GPU sends its vector to the other. Reduce-scatter and all-gather would send as
  // many bytes and wait for one more message.
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kAllReduce, 2, 1000), 2 + 1 + 1000 / 50.0);
}

TEST(Collective, LongAllReduceOnEightGpusTakesTwoPhases) {
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kAllReduce, 8, 8e6), 2 + 2 + 2 * 7e6 / 50.0);
}

TEST(Collective, ShortAllReduceOnEightGpusIsDirect) {
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kAllReduce, 8, 1), 2 + 1 + 7 / 50.0);
}

TEST(Collective, AllToAllOnTwoGpusSendsHalf) {
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kAllToAll, 2, 1000), 2 + 1 + 500 / 50.0);
}

TEST(Collective, GatherSendsTheShardToEveryPeerAndScatterAllButOwnShare) {
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kAllGather, 4, 1000), 2 + 1 + 3000 / 50.0);
  EXPECT_DOUBLE_EQ(Microseconds(CollectiveKind::kReduceScatter, 4, 1000), 2 + 1 + 750 / 50.0);
}

TEST(Collective, TimeGrowsWithBytesAndStaysAboveTheWire) {
  test::ForAll("collective/monotone", {.cases = 500}, [](RngStream& rng) {
    const auto kind = static_cast<CollectiveKind>(rng.NextBelow(4));
    const auto ranks = static_cast<int64_t>(2 + rng.NextBelow(63));
    const double bytes = 1e7 * rng.NextUniform() * rng.NextUniform();
    const double more = bytes + 1e5 * rng.NextUniform();
    EXPECT_LE(Microseconds(kind, ranks, bytes), Microseconds(kind, ranks, more));
    const double least = kind == CollectiveKind::kAllGather ? static_cast<double>(ranks - 1) * bytes
                                                            : RemoteShare(ranks) * bytes;
    EXPECT_GE(Microseconds(kind, ranks, bytes), least / 100.0);
  });
}

}  // namespace
}  // namespace moecast
