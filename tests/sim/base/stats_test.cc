#include "sim/base/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "sim/base/distributions.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

TEST(Mean, IsTheSumOverTheCount) {
  EXPECT_EQ(Mean(std::vector<double>{1, 2, 6}), 3);
  EXPECT_EQ(Mean(std::vector<double>{-4}), -4);
}

TEST(StandardDeviation, IsUnbiasedAndZeroForOneSample) {
  EXPECT_DOUBLE_EQ(StandardDeviation(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9}),
                   std::sqrt(32.0 / 7));
  EXPECT_EQ(StandardDeviation(std::vector<double>{5}), 0);
  EXPECT_EQ(StandardDeviation(std::vector<double>{}), 0);
}

TEST(StandardDeviation, SurvivesALargeOffset) {
  EXPECT_DOUBLE_EQ(StandardDeviation(std::vector<double>{1e9 + 1, 1e9 + 2, 1e9 + 3}), 1);
}

TEST(Quantile, InterpolatesBetweenOrderStatistics) {
  std::vector<double> samples = {4, 1, 3, 2};
  EXPECT_EQ(Quantile(samples, 0), 1);
  EXPECT_EQ(Quantile(samples, 0.25), 1.75);
  EXPECT_EQ(Quantile(samples, 0.5), 2.5);
  EXPECT_EQ(Quantile(samples, 1), 4);
}

TEST(Quantile, OfOneSampleIsThatSample) {
  std::vector<double> samples = {7};
  for (const double p : {0.0, 0.5, 0.99, 1.0}) EXPECT_EQ(Quantile(samples, p), 7);
}

TEST(Quantile, EqualsTheSortedDefinition) {
  test::ForAll("stats/quantile", {.cases = 500}, [](RngStream& rng) {
    std::vector<double> samples(1 + rng.NextBelow(50));
    for (double& x : samples) x = static_cast<double>(rng.NextBelow(20));
    std::vector<double> sorted = samples;
    std::sort(sorted.begin(), sorted.end());
    const double p = rng.NextUniform();
    const double position = static_cast<double>(samples.size() - 1) * p;
    const auto low = static_cast<size_t>(position);
    const size_t high = std::min(low + 1, sorted.size() - 1);
    const double fraction = position - std::floor(position);
    EXPECT_NEAR(Quantile(samples, p), sorted[low] * (1 - fraction) + sorted[high] * fraction, 1e-9);
  });
}

TEST(ConfidenceInterval, EqualsTheTextbookFormula) {
  // Mean 5, deviation 1, n = 2: half width = t(0.975; 1) / sqrt(2) * s, t by Cauchy's law.
  const std::vector<double> samples = {4, 6};
  const Interval interval = ConfidenceInterval(samples, 0.95);
  EXPECT_EQ(interval.mean, 5);
  EXPECT_EQ(interval.samples, 2U);
  EXPECT_NEAR(interval.half_width, std::tan(std::numbers::pi * 0.475) * std::sqrt(2.0 / 2), 1e-9);
}

TEST(ConfidenceInterval, OneSampleHasNoKnownWidth) {
  const Interval interval = ConfidenceInterval(std::vector<double>{3}, 0.95);
  EXPECT_EQ(interval.mean, 3);
  EXPECT_EQ(interval.half_width, 0);
  EXPECT_EQ(interval.samples, 1U);
}

TEST(ConfidenceInterval, CoversTheTruthAsOftenAsItSays) {
  constexpr int kIntervals = 4000;
  int covered = 0;
  RngStream rng(Seed{.seed = 4}, "coverage");
  for (int i = 0; i < kIntervals; ++i) {
    std::vector<double> samples(5);
    for (double& x : samples) x = 10 + 3 * SampleNormal(rng);
    const Interval interval = ConfidenceInterval(samples, 0.9);
    if (std::abs(interval.mean - 10) <= interval.half_width) ++covered;
  }
  EXPECT_NEAR(covered, 0.9 * kIntervals, 5 * std::sqrt(0.09 * kIntervals));
}

TEST(StatsDeathTest, NothingHasNoMeanNorQuantile) {
  std::vector<double> none;
  EXPECT_DEATH(Mean(none), "check failed");
  EXPECT_DEATH(Quantile(none, 0.5), "check failed");
}

}  // namespace
}  // namespace moecast
