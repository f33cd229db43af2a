#include "sim/metrics/backlog.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace moecast {
namespace {

Verdict VerdictOf(const std::function<int64_t(int64_t)>& waiting_found, int64_t arrivals) {
  Backlog backlog;
  for (int64_t i = 0; i < arrivals; ++i) backlog.OnArrival(waiting_found(i));
  return backlog.Judge();
}

TEST(Verdict, EmptyQueueIsStable) {
  EXPECT_EQ(VerdictOf([](int64_t) { return 0; }, 10'000), Verdict::kStable);
}

TEST(Verdict, StandingQueueThatDoesNotGrowIsStable) {
  EXPECT_EQ(VerdictOf([](int64_t) { return 5000; }, 10'000), Verdict::kStable);
}

TEST(Verdict, BurstThatTheRunClearsIsStable) {
  const auto burst = [](int64_t i) { return i > 3000 && i < 6000 ? int64_t{900} : int64_t{3}; };
  EXPECT_EQ(VerdictOf(burst, 10'000), Verdict::kStable);
}

TEST(Verdict, QueueThatFormedLateAndStaysIsBacklogged) {
  const auto late = [](int64_t i) { return i < 8000 ? int64_t{3} : i - 8000; };
  EXPECT_EQ(VerdictOf(late, 10'000), Verdict::kBacklogged);
}

TEST(Verdict, QueueThatGrowsThroughoutIsOverloaded) {
  EXPECT_EQ(VerdictOf([](int64_t i) { return i / 10; }, 10'000), Verdict::kOverloaded);
}

TEST(Verdict, GrowthOfLessThanOneInFiftyIsNotOverload) {
  EXPECT_EQ(VerdictOf([](int64_t i) { return i / 60; }, 10'000), Verdict::kStable);
}

TEST(Verdict, TooFewArrivalsToSeeATrendAreStable) {
  EXPECT_EQ(VerdictOf([](int64_t i) { return i; }, 15), Verdict::kStable);
}

TEST(Verdict, DoesNotDependOnHowManyArrivalsWereThinned) {
  for (const int64_t arrivals : {100, 1'000, 10'000, 1'000'000}) {
    EXPECT_EQ(VerdictOf([](int64_t i) { return i / 10; }, arrivals), Verdict::kOverloaded);
    const auto late = [arrivals](int64_t i) { return i < arrivals * 8 / 10 ? 0 : arrivals / 10; };
    EXPECT_EQ(VerdictOf(late, arrivals), Verdict::kBacklogged);
  }
}

}  // namespace
}  // namespace moecast
