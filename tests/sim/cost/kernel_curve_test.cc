// A curve against a plain sum over its rows, its range against its labels, and which shapes one
// kernel runs alike.
#include "sim/cost/kernel_curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace moecast {
namespace {

constexpr double kHiddenSize = 64;
constexpr double kFixed = 3e-6;

/// Rows at a few token counts; their number is no multiple of any block.
ShapeProfile ScatteredRows(int rows) {
  ShapeProfile shape;
  shape.shape[Feature::kHidden] = kHiddenSize;
  shape.fit.fixed = kFixed;
  for (int i = 0; i < rows; ++i) {
    const double tokens = 4 + 3.0 * i;
    shape.rows.push_back({.axes = {tokens, tokens * (1 + i % 6)},
                          .seconds = 1e-6 * (1 + i),
                          .weight = 0.01 * ((i * 7) % 11 - 5)});
  }
  return shape;
}

KernelFeatures At(double tokens, double assignments) {
  KernelFeatures f;
  f[Feature::kHidden] = kHiddenSize;
  f[Feature::kTokens] = tokens;
  f[Feature::kAssignments] = assignments;
  return f;
}

KernelProfile KernelOf(std::vector<ShapeProfile> shapes) {
  KernelProfile kernel;
  kernel.op = "combine";
  kernel.shapes = std::move(shapes);
  return kernel;
}

TEST(KernelCurve, IsTheFitTimesTheInterpolationOverAllRows) {
  const KernelForm& form = FormOf("combine");
  for (const int rows : {4, 8, 21}) {
    const ShapeProfile shape = ScatteredRows(rows);
    const ShapeCurve curve(form, KernelOf({shape}), 0);
    for (const double tokens : {1.0, 5.5, 17.3, 60.0, 5000.0}) {
      const KernelFeatures f = At(tokens, 2 * tokens);
      const Launch launch(form, f);
      double correction = 0;
      for (const ProfileRow& row : shape.rows) {
        correction +=
            row.weight * CovarianceAt(SquaredDistance(launch.place, form.place(row.axes)));
      }
      const double bounded = std::clamp(correction, -kMostCorrection, kMostCorrection);
      // Rows are summed in single precision.
      EXPECT_NEAR(curve.At(launch).seconds / (kFixed * std::exp(bounded)), 1, 1e-6) << tokens;
    }
  }
}

/// One shape's rows, and as many of another, some at places that only it was measured at.
TEST(KernelCurve, RowsOfOtherShapesCorrectInPartAndDoNotWidenTheRange) {
  const KernelForm& form = FormOf("combine");
  const ShapeProfile shape = ScatteredRows(5);
  ShapeProfile other = ScatteredRows(13);
  other.shape[Feature::kHidden] = 2 * kHiddenSize;
  for (ProfileRow& row : other.rows) row.weight = 0.02 - row.weight / 2;
  const ShapeCurve alone(form, KernelOf({shape}), 0);
  const ShapeCurve together(form, KernelOf({shape, other}), 0);
  for (const double tokens : {1.0, 5.5, 17.3, 60.0, 5000.0}) {
    const KernelFeatures f = At(tokens, 2 * tokens);
    const Launch launch(form, f);
    double more = 0;
    for (const ProfileRow& row : other.rows) {
      more += form.alike * row.weight *
              CovarianceAt(SquaredDistance(launch.place, form.place(row.axes)));
    }
    EXPECT_NEAR(together.At(launch).seconds / (alone.At(launch).seconds * std::exp(more)), 1, 1e-6)
        << tokens;
    EXPECT_EQ(together.At(launch).label, alone.At(launch).label) << tokens;
    EXPECT_EQ(together.InRange(launch), alone.InRange(launch)) << tokens;
  }
}

TEST(KernelCurve, NothingOutsideTheRangeOfTheRowsIsInterpolated) {
  const KernelForm& form = FormOf("combine");
  const ShapeCurve curve(form, KernelOf({ScatteredRows(9)}), 0);
  int covered = 0;
  int outside = 0;
  for (double tokens = 1; tokens < 100; tokens *= 1.07) {
    for (double each = 0.5; each < 40; each *= 1.3) {
      const KernelFeatures f = At(tokens, tokens * each);
      const Launch launch(form, f);
      const bool inside = curve.At(launch).label != Label::kExtrapolated;
      EXPECT_TRUE(!inside || curve.InRange(launch));
      inside ? ++covered : ++outside;
    }
  }
  EXPECT_GT(covered, 0);
  EXPECT_GT(outside, 0);
}

TEST(KernelCurve, ARowThatRoundingPutsJustOutsideTheRangeIsInIt) {
  const KernelForm& form = FormOf("combine");
  const ShapeCurve curve(form, KernelOf({ScatteredRows(9)}), 0);
  const KernelFeatures f = At(4 * (1 - 5e-5), 4);
  const Launch launch(form, f);
  EXPECT_EQ(curve.At(launch).label, Label::kMeasured);
  EXPECT_TRUE(curve.InRange(launch));
}

KernelFeatures Scheme(double bits, double group, double residual) {
  KernelFeatures f;
  f[Feature::kHeads] = 32;
  f[Feature::kKvHeads] = 8;
  f[Feature::kHeadDim] = 128;
  f[Feature::kKeyBits] = f[Feature::kValueBits] = bits;
  f[Feature::kGroup] = group;
  f[Feature::kResidual] = residual;
  return f;
}

TEST(ShapeDistance, OnlyGroupAndResidualMayDifferAndLittle) {
  const KernelForm& form = FormOf("attend");
  const KernelFeatures kivi = Scheme(2, 32, 128);
  EXPECT_EQ(ShapeDistance(form, kivi, kivi), 0);
  EXPECT_LT(ShapeDistance(form, kivi, Scheme(2, 32, 127)),
            ShapeDistance(form, kivi, Scheme(2, 32, 64)));
  EXPECT_TRUE(std::isinf(ShapeDistance(form, kivi, Scheme(2, 32, 0))));
  EXPECT_TRUE(std::isinf(ShapeDistance(form, kivi, Scheme(2, 64, 128))));
  EXPECT_TRUE(std::isinf(ShapeDistance(form, kivi, Scheme(4, 32, 128))));
  // A scale per token moves one byte in thirty of an 8-bit cache.
  EXPECT_LT(ShapeDistance(form, Scheme(8, 128, 0), Scheme(8, 0, 0)), 0.1);
}

TEST(ShapeDistance, ForOtherKernelsShapesAreTheSameOrNot) {
  const KernelForm& form = FormOf("combine");
  EXPECT_EQ(ShapeDistance(form, At(1, 8), At(2, 9)), 0);
  KernelFeatures other = At(1, 8);
  other[Feature::kHidden] = 65;
  EXPECT_TRUE(std::isinf(ShapeDistance(form, At(1, 8), other)));
}

/// Blocks that take a row each, one at a time on every multiprocessor, leave time in steps.
TEST(KernelForm, RowsBeyondAWholeRoundCostARound) {
  const KernelForm& form = FormOf("sampling");
  KernelFeatures f;
  f[Feature::kMultiprocessors] = 132;
  f[Feature::kWidth] = 4;
  f[Feature::kTokens] = 132;
  const double one = form.work(f, 16).chain;
  f[Feature::kTokens] = 133;
  EXPECT_EQ(form.work(f, 16).chain, 2 * one);
  EXPECT_EQ(form.work(f, 32).chain, one);
  EXPECT_EQ(form.work(f, 0).chain, 1);
}

TEST(KernelForm, OnlyBytesThatNoCacheKeepsAreBeyond) {
  constexpr double kMebibyte = 1 << 20;
  KernelFeatures f;
  f[Feature::kTokens] = 1024;
  f[Feature::kCacheBytes] = 60 * kMebibyte;
  const auto beyond = [&](double mebibytes) {
    f[Feature::kWidth] = mebibytes * kMebibyte / 1024;
    const KernelWork work = FormOf("norm").work(f, 0);
    return std::pair{work.memory[1] / kMebibyte, work.memory[2] / kMebibyte};
  };
  EXPECT_EQ(beyond(32), std::pair(0.0, 0.0));
  EXPECT_EQ(beyond(48), std::pair(16.0, 0.0));
  EXPECT_EQ(beyond(80), std::pair(48.0, 16.0));
  f[Feature::kCacheBytes] = 126 * kMebibyte;
  EXPECT_EQ(beyond(80), std::pair(16.0, 0.0));
}

TEST(KernelForm, CombineGoesInRoundsOfBlocksOfColumns) {
  const KernelForm& form = FormOf("combine");
  const auto chain = [&](double tokens, double hidden) {
    KernelFeatures f;
    f[Feature::kTokens] = tokens;
    f[Feature::kAssignments] = 6 * tokens;
    f[Feature::kHidden] = hidden;
    f[Feature::kMultiprocessors] = 132;
    return form.work(f, 128).chain;
  };
  EXPECT_EQ(chain(528, 2048), 6);  // 1,056 blocks at a time
  EXPECT_EQ(chain(529, 2048), 12);
  EXPECT_EQ(chain(529, 1024), 6);
}

}  // namespace
}  // namespace moecast
