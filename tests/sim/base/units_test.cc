#include "sim/base/units.h"

#include <gtest/gtest.h>

#include <concepts>
#include <cstdint>
#include <vector>

#include "sim/base/fingerprint.h"
#include "sim/base/ids.h"

namespace moecast {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Multipliable = requires(A a, B b) {
  a* b;
};

static_assert(Addable<Bytes, Bytes> && !Addable<Bytes, Flops> && !Addable<Bytes, double>);
static_assert(Multipliable<BytesPerSecond, Seconds> && !Multipliable<Bytes, Bytes>);
static_assert(std::same_as<decltype(Bytes(1) / BytesPerSecond(1)), Seconds>);
static_assert(std::same_as<decltype(Flops(1) / FlopsPerSecond(1)), Seconds>);
static_assert(std::same_as<decltype(Bytes(1) / Bytes(1)), double>);
static_assert(!std::convertible_to<double, Bytes> && !std::convertible_to<uint32_t, ReplicaId>);
static_assert(!std::equality_comparable_with<ReplicaId, SequenceId>);

TEST(Quantity, ArithmeticKeepsTheKind) {
  EXPECT_EQ(Bytes(6) / BytesPerSecond(3), Seconds(2));
  EXPECT_EQ(BytesPerSecond(3) * Seconds(2), Bytes(6));
  EXPECT_EQ(Tokens(2) + Tokens(3) - Tokens(1), Tokens(4));
  EXPECT_EQ(2.0 * Bytes(4), Bytes(8));
  EXPECT_EQ(Tokens(1) / Tokens(4), 0.25);
  Bytes sum(1);
  sum += Bytes(2);
  sum -= Bytes(0.5);
  EXPECT_EQ(sum, Bytes(2.5));
}

// INV-6: a predicted time is at least 1 ns and rounding never shortens it.
TEST(RoundUpToNs, Inv6NeverShortensAndNeverGivesZero) {
  EXPECT_EQ(RoundUpToNs(Seconds(0)), Duration(1));
  EXPECT_EQ(RoundUpToNs(Seconds(1e-12)), Duration(1));
  EXPECT_EQ(RoundUpToNs(Seconds(1e-9)), Duration(1));
  EXPECT_EQ(RoundUpToNs(Seconds(1.0000001e-9)), Duration(2));
  EXPECT_EQ(RoundUpToNs(Seconds(1.5)), Duration(1'500'000'000));
  EXPECT_EQ(RoundUpToNs(Seconds(3.2e9)), Duration(3'200'000'000'000'000'000));
}

TEST(SimulatedTime, ConvertsForPrinting) {
  EXPECT_EQ(ToSeconds(Duration(1'500'000'000)), 1.5);
  EXPECT_EQ(ToSeconds(Time(Duration(2'000'000'000))), 2.0);
  EXPECT_DOUBLE_EQ(ToMilliseconds(Duration(2'500'000)), 2.5);
}

TEST(Id, OrdersByValue) {
  EXPECT_LT(ReplicaId(1), ReplicaId(2));
  EXPECT_EQ(RequestId(uint64_t{1} << 40).value(), uint64_t{1} << 40);
  EXPECT_EQ(SequenceId(), SequenceId(0));
}

uint64_t HashOf(const std::vector<uint64_t>& words) {
  Fingerprint fingerprint;
  for (const uint64_t word : words) fingerprint.Add(word);
  return fingerprint.value();
}

TEST(Fingerprint, DependsOnEveryWordItsOrderAndTheirNumber) {
  EXPECT_EQ(HashOf({1, 2, 3}), HashOf({1, 2, 3}));
  EXPECT_NE(HashOf({1, 2, 3}), HashOf({1, 3, 2}));
  EXPECT_NE(HashOf({1, 2, 3}), HashOf({1, 2, 4}));
  EXPECT_NE(HashOf({1, 2}), HashOf({1, 2, 0}));
  EXPECT_NE(HashOf({}), HashOf({0}));
}

// The value is part of every golden file: a change of the hash must be noticed here first. The
// first word equals the first output of SplitMix64 seeded with 0. [Steele14]
TEST(Fingerprint, IsStable) { EXPECT_EQ(HashOf({0}), 0xe220a8397b1dcdafU); }

}  // namespace
}  // namespace moecast
