#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "sim/base/distributions.h"
#include "sim/base/stats.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

constexpr double kHistogramError = 0x1p-11;

struct WeightedSample {
  double value;
  uint64_t weight;
};

std::vector<WeightedSample> DrawSamples(RngStream& rng, size_t count) {
  std::vector<WeightedSample> samples(count);
  for (WeightedSample& s : samples) {
    s.value = rng.NextBelow(8) == 0 ? static_cast<double>(rng.NextBelow(4))
                                    : SampleLognormal(rng, 0.02, 3);
    s.weight = rng.NextBelow(5);
  }
  return samples;
}

// Every copy written out: what a SampleSet must agree with.
std::vector<double> Copies(const std::vector<WeightedSample>& samples) {
  std::vector<double> copies;
  for (const WeightedSample& s : samples) copies.insert(copies.end(), s.weight, s.value);
  return copies;
}

SampleSet SetOf(const std::vector<WeightedSample>& samples, size_t exact_limit) {
  SampleSet set(exact_limit);
  for (const WeightedSample& s : samples) set.Add(s.value, s.weight);
  return set;
}

void ExpectMoments(const SampleSet& set, const std::vector<double>& copies) {
  ASSERT_EQ(set.count(), copies.size());
  EXPECT_NEAR(set.mean(), Mean(copies), 1e-12 * Mean(copies));
  EXPECT_NEAR(set.standard_deviation(), StandardDeviation(copies),
              1e-9 * StandardDeviation(copies));
  EXPECT_EQ(set.min(), *std::min_element(copies.begin(), copies.end()));
  EXPECT_EQ(set.max(), *std::max_element(copies.begin(), copies.end()));
}

TEST(SampleSet, ExactModeEqualsTheCopiesWrittenOut) {
  test::ForAll("sample set/exact", {.cases = 200}, [](RngStream& rng) {
    const auto samples = DrawSamples(rng, 2 + rng.NextBelow(200));
    auto copies = Copies(samples);
    if (copies.empty()) return;
    const SampleSet set = SetOf(samples, 1000);
    ASSERT_TRUE(set.exact());
    ExpectMoments(set, copies);
    for (const double p : {0.0, 0.01, 0.5, 0.9, 0.99, 1.0}) {
      EXPECT_EQ(set.Quantile(p), Quantile(copies, p)) << p;
    }
  });
}

TEST(SampleSet, HistogramQuantilesKeepTheErrorBound) {
  test::ForAll("sample set/histogram", {.cases = 50}, [](RngStream& rng) {
    const auto samples = DrawSamples(rng, 500 + rng.NextBelow(500));
    auto copies = Copies(samples);
    const SampleSet set = SetOf(samples, 16);
    ASSERT_FALSE(set.exact());
    ExpectMoments(set, copies);
    EXPECT_EQ(set.Quantile(0), set.min());
    EXPECT_EQ(set.Quantile(1), set.max());
    for (const double p : {0.01, 0.25, 0.5, 0.9, 0.99, 0.999}) {
      const double exact = Quantile(copies, p);
      EXPECT_NEAR(set.Quantile(p), exact, exact * kHistogramError * (1 + 1e-12)) << p;
    }
  });
}

TEST(SampleSet, RepeatedValuesNeverEndExactness) {
  SampleSet set(8);
  for (int i = 0; i < 9600; ++i) set.Add(i % 8, 1 + static_cast<uint64_t>(i % 3));
  EXPECT_TRUE(set.exact());
  EXPECT_EQ(set.Quantile(0.5), 3.5);
}

TEST(SampleSet, StopsBeingExactAtTheLimit) {
  SampleSet set(100);
  for (int i = 0; i < 100; ++i) set.Add(i);
  EXPECT_TRUE(set.exact());
  for (int i = 100; i < 126; ++i) set.Add(i);
  EXPECT_FALSE(set.exact());
}

TEST(SampleSet, AskingForQuantilesChangesNothing) {
  test::ForAll("sample set/asking", {.cases = 100}, [](RngStream& rng) {
    const auto samples = DrawSamples(rng, 50 + rng.NextBelow(100));
    SampleSet asked(40);
    SampleSet left_alone(40);
    for (const WeightedSample& s : samples) {
      asked.Add(s.value, s.weight);
      left_alone.Add(s.value, s.weight);
      if (asked.count() > 0) (void)asked.Quantile(0.5);
    }
    if (asked.count() == 0) return;
    if (!asked.exact() || !left_alone.exact()) return;  // the noticing may differ by limit / 4
    EXPECT_EQ(asked.Quantile(0.73), left_alone.Quantile(0.73));
  });
}

TEST(SampleSet, MergeEqualsAddingToOneSet) {
  test::ForAll("sample set/merge", {.cases = 200}, [](RngStream& rng) {
    const size_t limit = 1 + rng.NextBelow(150);
    const auto first = DrawSamples(rng, 1 + rng.NextBelow(100));
    const auto second = DrawSamples(rng, 1 + rng.NextBelow(100));
    auto both = first;
    both.insert(both.end(), second.begin(), second.end());
    auto copies = Copies(both);
    SampleSet merged = SetOf(first, limit);
    merged.Merge(SetOf(second, limit));
    if (copies.empty()) {
      EXPECT_EQ(merged.count(), 0U);
      return;
    }
    ExpectMoments(merged, copies);
    const double error = merged.exact() ? 0 : 2 * kHistogramError;
    for (const double p : {0.1, 0.5, 0.95}) {
      const double exact = Quantile(copies, p);
      EXPECT_NEAR(merged.Quantile(p), exact, exact * error) << p;
    }
  });
}

TEST(SampleSet, MergingAHistogramAddsNoSecondError) {
  RngStream rng(Seed{.seed = 6}, "merge");
  const auto samples = DrawSamples(rng, 2000);
  const SampleSet histogram = SetOf(samples, 4);
  SampleSet merged(4);
  merged.Merge(histogram);
  for (const double p : {0.0, 0.2, 0.5, 0.99, 1.0}) {
    EXPECT_EQ(merged.Quantile(p), histogram.Quantile(p)) << p;
  }
}

TEST(SampleSet, WeightsBeyondThirtyTwoBitsCount) {
  SampleSet set;
  set.Add(1, uint64_t{1} << 40);
  set.Add(2, uint64_t{3} << 40);
  EXPECT_EQ(set.count(), uint64_t{1} << 42);
  EXPECT_EQ(set.Quantile(0.2), 1);
  EXPECT_EQ(set.Quantile(0.3), 2);
  EXPECT_EQ(set.mean(), 1.75);
}

TEST(SampleSet, ExtremeValuesFitTheHistogram) {
  SampleSet set(1);
  const std::vector<double> values = {std::numeric_limits<double>::max(), 0,
                                      std::numeric_limits<double>::min(), 1};
  for (const double value : values) set.Add(value);
  EXPECT_FALSE(set.exact());
  EXPECT_EQ(set.Quantile(0), 0);
  EXPECT_EQ(set.Quantile(1), std::numeric_limits<double>::max());
  EXPECT_NEAR(set.Quantile(2.0 / 3), 1, kHistogramError);
}

TEST(SampleSet, WeightZeroAddsNothing) {
  SampleSet set;
  set.Add(5, 0);
  EXPECT_EQ(set.count(), 0U);
  EXPECT_EQ(set.max(), 0);
}

TEST(SampleSetDeathTest, RefusesWhatIsNotASample) {
  SampleSet set;
  EXPECT_DEATH(set.Add(-1), "check failed");
  EXPECT_DEATH(set.Add(std::numeric_limits<double>::quiet_NaN()), "check failed");
  EXPECT_DEATH(set.Add(std::numeric_limits<double>::infinity()), "check failed");
  EXPECT_DEATH((void)set.mean(), "check failed");
  EXPECT_DEATH((void)set.Quantile(0.5), "check failed");
}

}  // namespace
}  // namespace moecast
