// What suites draw: slots that prefer some experts, lengths of sequences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kernels/bench/drawn_lengths.h"
#include "kernels/bench/drawn_slots.h"

namespace moecast::kernels {
namespace {

constexpr ExpertShape kShape{
    .tokens = 512, .top_k = 8, .experts = 64, .hidden = 64, .intermediate = 64};

std::vector<int> Loads(const std::vector<int32_t>& slots) {
  std::vector<int> loads(static_cast<size_t>(kShape.experts) + 1);
  for (const int32_t expert : slots) ++loads[static_cast<size_t>(expert)];
  return loads;
}

TEST(DrawnSlots, ATokenKeepsDistinctExpertsAndSkipsTheRest) {
  constexpr int32_t kKept = 5;
  const std::vector<int32_t> slots = DrawZipfSlots(kShape, 0.5, kKept, 1);
  ASSERT_EQ(slots.size(), 512U * 8U);
  for (size_t token = 0; token < 512; ++token) {
    const auto first = slots.begin() + static_cast<std::ptrdiff_t>(token * 8);
    const std::set<int32_t> kept(first, first + kKept);
    EXPECT_EQ(kept.size(), static_cast<size_t>(kKept));
    EXPECT_LT(*kept.rbegin(), kShape.experts);
    EXPECT_EQ(std::count(first, first + 8, kShape.experts), 8 - kKept);
  }
}

TEST(DrawnSlots, ALargerExponentPrefersMore) {
  const auto fullest = [](double exponent) {
    std::vector<int> loads = Loads(DrawZipfSlots(kShape, exponent, 8, 1));
    return *std::max_element(loads.begin(), loads.end());
  };
  const double mean = 512.0 * 8 / 64;
  EXPECT_LT(fullest(0), 1.6 * mean);
  EXPECT_GT(fullest(0.5), 2.5 * mean);
  EXPECT_LT(fullest(0.5), 5 * mean);
  EXPECT_GT(fullest(1), 5 * mean);
}

TEST(DrawnSlots, TheDrawDecidesWhichExpertsArePopular) {
  const auto favourite = [](uint64_t draw) {
    const std::vector<int> loads = Loads(DrawZipfSlots(kShape, 1, 8, draw));
    return std::max_element(loads.begin(), loads.end()) - loads.begin();
  };
  EXPECT_EQ(favourite(1), favourite(1));
  std::set<std::ptrdiff_t> favourites;
  for (uint64_t draw = 0; draw < 8; ++draw) favourites.insert(favourite(draw));
  EXPECT_GT(favourites.size(), 3U);
}

TEST(DrawnLengths, HaveTheMeanAndTheSpreadAskedFor) {
  for (const double deviation : {0.3, 1.0}) {
    const std::vector<int32_t> lengths = LognormalLengths(4096, 1000, deviation);
    const double mean = std::accumulate(lengths.begin(), lengths.end(), 0.0) / 4096;
    EXPECT_NEAR(mean, 1000, 80) << deviation;
    double squares = 0;
    for (const int32_t length : lengths) {
      const double off = std::log(length / 1000.0) + deviation * deviation / 2;
      squares += off * off;
    }
    EXPECT_NEAR(std::sqrt(squares / 4096), deviation, 0.05 * deviation) << deviation;
  }
}

TEST(DrawnLengths, AreAtLeastOneAndTheSameInEveryRun) {
  const std::vector<int32_t> lengths = LognormalLengths(256, 2, 2);
  EXPECT_GE(*std::min_element(lengths.begin(), lengths.end()), 1);
  EXPECT_EQ(lengths, LognormalLengths(256, 2, 2));
}

}  // namespace
}  // namespace moecast::kernels
