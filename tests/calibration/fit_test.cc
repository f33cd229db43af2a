#include "calibration/fit.h"

#include <gtest/gtest.h>

#include "calibration/kernel_fit.h"
#include "sim/base/rng.h"
#include "tests/calibration/synthetic_rows.h"

namespace moecast::calibration {
namespace {

std::vector<FitPoint> PointsOf(const Measurements& m) {
  std::vector<FitPoint> points;
  for (const KernelRow& row : m.rows) {
    points.push_back({.features = row.features, .seconds = row.time_ns * 1e-9});
  }
  return points;
}

double WorstError(const KernelForm& form, const KernelFit& fit,
                  const std::vector<FitPoint>& points) {
  double worst = 0;
  for (const FitPoint& point : points) {
    const double time = FitTime(fit, form.work(point.features, fit.rows_per_pass));
    worst = std::max(worst, std::abs(time / point.seconds - 1));
  }
  return worst;
}

TEST(Fit, RecoversTheLawThatMadeTheRows) {
  const KernelForm& form = FormOf("gate_up");
  const std::vector<FitPoint> points = PointsOf(test::LawMeasurements());
  const KernelFit fit = FitAt(form, points, 0).fit;
  EXPECT_NEAR(fit.fixed, 5e-6, 5e-8);
  EXPECT_EQ(fit.sharpness, 3);
  EXPECT_LT(WorstError(form, fit, points), 0.002);
}

TEST(Fit, AFewWildRowsMoveItLittle) {
  const KernelForm& form = FormOf("gate_up");
  std::vector<FitPoint> points = PointsOf(test::LawMeasurements());
  const std::vector<FitPoint> clean = points;
  for (size_t i = 0; i < points.size(); i += 24) points[i].seconds *= 3;
  const KernelFit fit = FitAt(form, points, 0).fit;
  EXPECT_LT(WorstError(form, fit, clean), 0.05);
}

TEST(Fit, TheLikeOfAFitIsTheFit) {
  const KernelForm& form = FormOf("gate_up");
  const std::vector<FitPoint> points = PointsOf(test::LawMeasurements());
  const KernelFit fit = FitAt(form, points, 0).fit;
  const KernelFit again = FitLike(form, points, fit);
  EXPECT_EQ(again.fixed, fit.fixed);
  EXPECT_EQ(again.per_memory, fit.per_memory);
  EXPECT_EQ(again.per_compute, fit.per_compute);
}

TEST(Fit, FindsHowManyRowsAnExpertHasPerReadOfItsWeights) {
  const KernelForm& form = FormOf("gate_up");
  const KernelFit law{
      .fixed = 4e-6, .per_memory = {1e-12, 0, 0}, .sharpness = 2, .rows_per_pass = 32};
  std::vector<FitPoint> points = PointsOf(test::LawMeasurements());
  for (FitPoint& point : points) {
    point.seconds = FitTime(law, form.work(point.features, law.rows_per_pass));
  }
  EXPECT_EQ(FitRowsPerPass(form, {points}), 32);
}

TEST(Fit, CoefficientsAreNeverNegative) {
  RngStream rng({.seed = 3}, "fit", 0);
  const KernelForm& form = FormOf("gate_up");
  for (int trial = 0; trial < 5; ++trial) {
    std::vector<FitPoint> points = PointsOf(test::LawMeasurements());
    for (FitPoint& point : points) point.seconds *= 0.2 + 2 * rng.NextUniform();
    const KernelFit fit = FitAt(form, points, 0).fit;
    EXPECT_GE(fit.fixed, 0);
    for (const double each : fit.per_memory) EXPECT_GE(each, 0);
    EXPECT_GE(fit.per_compute, 0);
    EXPECT_GE(fit.per_chain, 0);
  }
}

TEST(KernelFit, PredictsTheHeldOutPointsOfALaw) {
  const Measurements m = test::LawMeasurements();
  const std::vector<KernelRows> kernels = GroupRows(m.rows);
  ASSERT_EQ(kernels.size(), 1U);
  const KernelProfile profile =
      FitKernel(kernels.front(), [](const Point& p) { return !IsHeldOut(p); });
  const auto held = PredictPoints(kernels.front(), profile, IsHeldOut);
  ASSERT_GT(held.size(), 5U);
  for (const Prediction& each : held) EXPECT_LT(std::abs(each.log_error()), 0.01);
}

TEST(KernelFit, WhatIsHeldOutDependsOnThePointAndNotOnItsTime) {
  Measurements m = test::LawMeasurements();
  const std::vector<KernelRows> before = GroupRows(m.rows);
  for (KernelRow& row : m.rows) row.time_ns *= 2;
  const std::vector<KernelRows> after = GroupRows(m.rows);
  for (size_t i = 0; i < before[0].shapes[0].points.size(); ++i) {
    EXPECT_EQ(before[0].shapes[0].points[i].part, after[0].shapes[0].points[i].part);
  }
}

}  // namespace
}  // namespace moecast::calibration
