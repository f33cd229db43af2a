#include "reports/figures.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/reports/hand_made_study.h"

namespace moecast {
namespace {

using test::HandMadeResult;
using test::TinyStudy;

Estimate OutputOf(const std::vector<CaseFigures>& figures, size_t case_index) {
  return figures[case_index].estimates[FigureIndex("output_tokens_per_s")];
}

TEST(Figures, HaveDistinctKeys) {
  std::set<std::string_view> keys;
  for (const Figure& figure : Figures()) EXPECT_TRUE(keys.insert(figure.key).second) << figure.key;
}

TEST(Figures, RatiosReferToTheFirstVariantOfTheSameLoad) {
  Study study = TinyStudy();
  const StudyResult result = HandMadeResult(study, {{100}, {150}, {200}, {100}});
  const std::vector<CaseFigures> figures = EstimateFigures(study, result);
  EXPECT_EQ(OutputOf(figures, 0).ratio, 1.0);
  EXPECT_EQ(OutputOf(figures, 1).ratio, 1.5);
  EXPECT_EQ(OutputOf(figures, 2).ratio, 1.0);
  EXPECT_EQ(OutputOf(figures, 3).ratio, 0.5);
}

TEST(Figures, OneReplicationSaysNothingAboutNoise) {
  Study study = TinyStudy();
  const StudyResult result = HandMadeResult(study, {{100}, {150}, {1}, {1}});
  EXPECT_FALSE(OutputOf(EstimateFigures(study, result), 1).distinguishable.has_value());
}

// The pairs differ by exactly 1 although each side varies by 100: only pairing can see it.
TEST(Figures, PairingSeesASteadyDifferenceUnderCommonNoise) {
  Study study = TinyStudy();
  const StudyResult result =
      HandMadeResult(study, {{100, 200, 300}, {101, 201, 301}, {1, 1, 1}, {1, 1, 1}});
  EXPECT_EQ(OutputOf(EstimateFigures(study, result), 1).distinguishable, true);
}

TEST(Figures, ADifferenceThatChangesSignIsNotDistinguishable) {
  Study study = TinyStudy();
  const StudyResult result =
      HandMadeResult(study, {{100, 200, 300}, {110, 190, 301}, {1, 1, 1}, {1, 1, 1}});
  EXPECT_EQ(OutputOf(EstimateFigures(study, result), 1).distinguishable, false);
}

// t(0.975, 2) = 4.302653; the standard error of {100, 200, 300} is 100 / sqrt(3).
TEST(Figures, HalfWidthIsStudentT) {
  Study study = TinyStudy();
  const StudyResult result =
      HandMadeResult(study, {{100, 200, 300}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}});
  const Estimate estimate = OutputOf(EstimateFigures(study, result), 0);
  ASSERT_TRUE(estimate.value.has_value());
  EXPECT_EQ(estimate.value->mean, 200);
  EXPECT_NEAR(estimate.value->half_width, 248.4138, 1e-3);
}

TEST(Figures, AreAbsentWhenNothingWasMeasured) {
  Study study = TinyStudy();
  StudyResult result = HandMadeResult(study, {{100}, {100}, {100}, {100}});
  result.cases[0].replications[0].summary = Summary{};
  const std::vector<CaseFigures> figures = EstimateFigures(study, result);
  EXPECT_FALSE(OutputOf(figures, 0).value.has_value());
  EXPECT_FALSE(OutputOf(figures, 1).ratio.has_value());
}

TEST(Figures, PerGpuDividesByEveryGpuOfEveryReplica) {
  Study study = TinyStudy();
  study.cases[0].scenario.replicas = 2;
  study.cases[0].scenario.parallelism = {.tensor = 2, .data = 1, .expert = 1};
  const StudyResult result = HandMadeResult(study, {{100}, {100}, {100}, {100}});
  const std::vector<CaseFigures> figures = EstimateFigures(study, result);
  EXPECT_EQ(figures[0].estimates[FigureIndex("output_tokens_per_s_per_gpu")].value->mean, 25);
  EXPECT_EQ(figures[0].estimates[FigureIndex("tokens_per_s_per_user")].value->mean, 200);
}

}  // namespace
}  // namespace moecast
