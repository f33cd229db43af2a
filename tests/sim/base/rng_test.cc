#include "sim/base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moecast {
namespace {

std::vector<uint64_t> Draws(RngStream stream, int count) {
  std::vector<uint64_t> draws(static_cast<size_t>(count));
  for (uint64_t& draw : draws) draw = stream.NextU64();
  return draws;
}

struct KnownStream {
  Seed seed;
  std::string_view name;
  uint64_t index;
  std::array<uint64_t, 5> draws;
};

// From a separate implementation (integer arithmetic in Python) of FNV-1a, SplitMix64 and
// Philox4x32-10, which gives the vectors published with [Salmon11].
const std::array<KnownStream, 3> kKnownStreams = {{
    {.seed = {},
     .name = "",
     .index = 0,
     .draws = {0x44b380a18e4f4222, 0x3500016c33c65ddf, 0x316e3ed490d28470, 0x7e5bd023e298e5f2,
               0x2c37d5d3a61b4489}},
    {.seed = {.seed = 1},
     .name = "workload/arrivals",
     .index = 0,
     .draws = {0x2673f3a062848403, 0x34249c3180adbc34, 0x04a0d84b926001cf, 0x3aa62a3970093e84,
               0x3353d80ef6f97904}},
    {.seed = {.seed = 0xfedcba9876543210, .replication = 7},
     .name = "routing",
     .index = 0x123456789abcdef0,
     .draws = {0xc65f7d28869a23db, 0xd714564195ec7468, 0x5ac9919db913abbd, 0x22412aa2c14cfe60,
               0x3ca641587d5bcc72}},
}};

TEST(RngStream, DrawsEqualTheKnownAnswers) {
  for (const KnownStream& known : kKnownStreams) {
    RngStream stream(known.seed, known.name, known.index);
    for (const uint64_t draw : known.draws) EXPECT_EQ(stream.NextU64(), draw) << known.name;
  }
}

// INV-8: what one purpose draws does not depend on who else draws, nor when.
TEST(RngStream, Inv8DrawsDoNotDependOnOtherStreamsOrOnOrder) {
  const Seed seed = {.seed = 11};
  const std::vector<uint64_t> alone = Draws(RngStream(seed, "workload/arrivals"), 64);
  RngStream policy(seed, "policy");
  RngStream arrivals(seed, "workload/arrivals");
  std::vector<uint64_t> interleaved;
  for (int i = 0; i < 64; ++i) {
    for (int extra = 0; extra < i % 5; ++extra) policy.NextU64();
    interleaved.push_back(arrivals.NextU64());
  }
  EXPECT_EQ(interleaved, alone);
}

TEST(RngStream, CopyRepeatsTheRemainingDraws) {
  RngStream stream(Seed{.seed = 3}, "copy");
  for (int consumed = 0; consumed < 5; ++consumed) {
    const RngStream copy = stream;
    EXPECT_EQ(Draws(copy, 8), Draws(stream, 8));
    stream.NextU64();
  }
}

TEST(RngStream, SeedReplicationNameAndIndexEachChangeEveryDraw) {
  const std::vector<RngStream> streams = {
      RngStream({.seed = 1}, "a", 0),
      RngStream({.seed = 2}, "a", 0),
      RngStream({.seed = 1, .replication = 1}, "a", 0),
      RngStream({.seed = 1}, "b", 0),
      RngStream({.seed = 1}, "a", 1),
      RngStream({.seed = 1}, "a", uint64_t{1} << 32),
      RngStream({.seed = 0, .replication = 1}, "a", 0),
  };
  std::set<uint64_t> distinct;
  for (const RngStream& stream : streams) {
    for (const uint64_t draw : Draws(stream, 100)) distinct.insert(draw);
  }
  EXPECT_EQ(distinct.size(), streams.size() * 100);
}

TEST(RngStream, FirstDrawsOfNeighbouringIndicesAreUncorrelated) {
  constexpr int kCount = 100'000;
  double products = 0;
  double previous = RngStream({.seed = 5}, "family", 0).NextUniform() - 0.5;
  for (uint64_t i = 1; i <= kCount; ++i) {
    const double centred = RngStream({.seed = 5}, "family", i).NextUniform() - 0.5;
    products += previous * centred;
    previous = centred;
  }
  // Each product has mean 0 and variance 1/144; 5 standard errors.
  EXPECT_NEAR(products / kCount, 0, 5.0 / 12 / std::sqrt(kCount));
}

TEST(RngStream, UniformStaysInTheHalfOpenUnitInterval) {
  RngStream stream(Seed{.seed = 8}, "uniform");
  for (int i = 0; i < 100'000; ++i) {
    const double u = stream.NextUniform();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
  }
}

TEST(RngStream, BitsAreSetHalfTheTime) {
  constexpr int kCount = 40'000;
  std::array<int, 64> set{};
  RngStream stream(Seed{.seed = 9}, "bits");
  for (int i = 0; i < kCount; ++i) {
    const uint64_t word = stream.NextU64();
    for (size_t bit = 0; bit < 64; ++bit) set[bit] += static_cast<int>(word >> bit & 1);
  }
  for (const int count : set) EXPECT_NEAR(count, 0.5 * kCount, 600);  // 6 standard deviations
}

TEST(RngStream, BelowCoversEveryValueEvenly) {
  constexpr int kPerValue = 10'000;
  RngStream stream(Seed{.seed = 10}, "below");
  std::array<int, 7> counts{};
  for (int i = 0; i < 7 * kPerValue; ++i) ++counts.at(stream.NextBelow(counts.size()));
  for (const int count : counts) EXPECT_NEAR(count, kPerValue, 600);
}

TEST(RngStream, BelowOneIsZero) {
  RngStream stream(Seed{.seed = 10}, "below");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(stream.NextBelow(1), 0U);
}

// A bound of 3 * 2^62 accepts three of four words; a biased method would give the lowest quarter of
// the words twice the weight.
TEST(RngStream, BelowIsUnbiasedWhenTheBoundDoesNotDivideTheWords) {
  constexpr int kCount = 30'000;
  constexpr uint64_t kThird = uint64_t{1} << 62;
  RngStream stream(Seed{.seed = 12}, "below");
  std::array<int, 3> counts{};
  for (int i = 0; i < kCount; ++i) ++counts.at(stream.NextBelow(3 * kThird) / kThird);
  for (const int count : counts) EXPECT_NEAR(count, kCount / 3.0, 500);
}

TEST(RngStreamDeathTest, BelowZeroIsAProgramError) {
  RngStream stream(Seed{}, "below");
  EXPECT_DEATH(stream.NextBelow(0), "check failed: bound > 0");
}

}  // namespace
}  // namespace moecast
