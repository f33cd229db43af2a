#include "sim/base/distributions.h"

#include <gtest/gtest.h>

#include <boost/math/distributions/gamma.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string_view>
#include <vector>

#include "sim/base/stats.h"
#include "tests/support/distribution_distance.h"

namespace moecast {
namespace {

using test::KolmogorovDistance;
using test::KolmogorovLimit;

constexpr size_t kCount = 100'000;

template <class Sample>
std::vector<double> Collect(std::string_view name, Sample sample) {
  RngStream rng(Seed{.seed = 2024}, name);
  std::vector<double> samples(kCount);
  for (double& x : samples) x = sample(rng);
  return samples;
}

double NormalCdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

TEST(SampleExponential, FollowsItsLaw) {
  const auto samples =
      Collect("exponential", [](auto& rng) { return SampleExponential(rng, 2.5); });
  const auto cdf = [](double x) { return -std::expm1(-x / 2.5); };
  EXPECT_LT(KolmogorovDistance(samples, cdf), KolmogorovLimit(kCount));
  EXPECT_NEAR(Mean(samples), 2.5, 5 * 2.5 / std::sqrt(kCount));
}

TEST(SampleNormal, FollowsItsLaw) {
  const auto samples = Collect("normal", [](auto& rng) { return SampleNormal(rng); });
  EXPECT_LT(KolmogorovDistance(samples, NormalCdf), KolmogorovLimit(kCount));
  EXPECT_NEAR(Mean(samples), 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(StandardDeviation(samples), 1, 5 / std::sqrt(2.0 * kCount));
}

class SampleGammaOfShape : public ::testing::TestWithParam<double> {};

TEST_P(SampleGammaOfShape, FollowsItsLaw) {
  const double shape = GetParam();
  const auto samples = Collect("gamma", [&](auto& rng) { return SampleGamma(rng, shape, 3.0); });
  const boost::math::gamma_distribution<double> law(shape, 3.0);
  const auto law_cdf = [&](double x) { return boost::math::cdf(law, x); };
  EXPECT_LT(KolmogorovDistance(samples, law_cdf), KolmogorovLimit(kCount));
  EXPECT_NEAR(Mean(samples), 3 * shape, 5 * 3 * std::sqrt(shape / kCount));
}

// Shapes of request gaps with coefficient of variation 1 / sqrt(shape): bursty to regular.
INSTANTIATE_TEST_SUITE_P(BurstyToRegular, SampleGammaOfShape,
                         ::testing::Values(0.05, 0.25, 0.999, 1.0, 1.5, 4.0, 100.0));

TEST(SampleLognormal, FollowsItsLaw) {
  const auto samples =
      Collect("lognormal", [](auto& rng) { return SampleLognormal(rng, 300.0, 1.5); });
  const double sigma = std::sqrt(std::log(1 + 1.5 * 1.5));
  const double mu = std::log(300.0) - sigma * sigma / 2;
  const auto cdf = [&](double x) { return NormalCdf((std::log(x) - mu) / sigma); };
  EXPECT_LT(KolmogorovDistance(samples, cdf), KolmogorovLimit(kCount));
  EXPECT_NEAR(Mean(samples), 300, 5 * 300 * 1.5 / std::sqrt(kCount));
}

TEST(SampleLognormal, ZeroVariationIsTheMeanExactly) {
  RngStream rng(Seed{.seed = 1}, "lognormal");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(SampleLognormal(rng, 137.3, 0), 137.3);
}

TEST(SampleUniformInt, CoversBothEndsEvenly) {
  std::vector<int> counts(5);
  RngStream rng(Seed{.seed = 1}, "int");
  for (int i = 0; i < 50'000; ++i)
    ++counts.at(static_cast<size_t>(SampleUniformInt(rng, -2, 2) + 2));
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
}

TEST(SampleUniformInt, HandlesOneValueAndTheWholeRange) {
  using Limits = std::numeric_limits<int64_t>;
  RngStream rng(Seed{.seed = 1}, "int");
  EXPECT_EQ(SampleUniformInt(rng, 5, 5), 5);
  EXPECT_EQ(SampleUniformInt(rng, Limits::min(), Limits::min()), Limits::min());
  bool negative = false;
  bool positive = false;
  for (int i = 0; i < 64; ++i) {
    const int64_t x = SampleUniformInt(rng, Limits::min(), Limits::max());
    negative = negative || x < 0;
    positive = positive || x > 0;
  }
  EXPECT_TRUE(negative && positive);
}

}  // namespace
}  // namespace moecast
