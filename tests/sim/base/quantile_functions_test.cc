#include "sim/base/quantile_functions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace moecast {
namespace {

TEST(NormalQuantile, InvertsTheDistribution) {
  for (const double p : {1e-15, 1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999}) {
    const double back = 0.5 * std::erfc(-NormalQuantile(p) / std::numbers::sqrt2);
    EXPECT_NEAR(back / p, 1, 1e-13) << p;
  }
}

TEST(NormalQuantile, IsOddAboutTheMedian) {
  EXPECT_EQ(NormalQuantile(0.5), 0);
  for (const double p : {0.25, 0.125, 0.0078125}) {
    EXPECT_DOUBLE_EQ(NormalQuantile(p), -NormalQuantile(1 - p));
  }
}

// One degree of freedom is Cauchy's law, two have t = (2p - 1) / sqrt(2 p (1 - p)).
TEST(StudentTQuantile, EqualsTheClosedForms) {
  for (const double p : {0.6, 0.9, 0.975, 0.9999}) {
    EXPECT_NEAR(StudentTQuantile(p, 1) / std::tan(std::numbers::pi * (p - 0.5)), 1, 1e-12);
    EXPECT_NEAR(StudentTQuantile(p, 2) / ((2 * p - 1) / std::sqrt(2 * p * (1 - p))), 1, 1e-12);
  }
}

TEST(StudentTQuantile, ApproachesTheNormalWithManyDegreesOfFreedom) {
  EXPECT_NEAR(StudentTQuantile(0.975, 1e7), NormalQuantile(0.975), 1e-6);
}

TEST(NormalQuantileDeathTest, CertaintyHasNoQuantile) {
  EXPECT_DEATH(NormalQuantile(0), "check failed");
  EXPECT_DEATH(NormalQuantile(1), "check failed");
}

}  // namespace
}  // namespace moecast
