// The loop closed on itself: points that the simulator made with known overheads are fitted.
#include "calibration/serving/fit_serving.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "calibration/serving/engine_groups.h"
#include "scenarios/scenario_codec.h"
#include "tests/support/temporary_folder.h"

namespace moecast::serving {
namespace {

using ::testing::HasSubstr;

class FitServingTest : public ::testing::Test {
 protected:
  FitServingTest() {
    std::ofstream(file_) << "name: small\nmodel: OLMoE-1B-7B-0924\ncluster: {gpu: H100-SXM}\n"
                            "workload: {synthetic: {arrivals: {closed_loop: {concurrency: 1}}, "
                            "input: {fixed: {tokens: 1}}, output: {fixed: {tokens: 1}}}, "
                            "stop: {requests: 1}}\nrouting: uniform\n";
    int line = 2;
    for (const int64_t concurrency : {1, 8, 32}) {
      for (const double input : {128.0, 2048.0}) {
        points_.push_back({.where = "p:" + std::to_string(line++),
                           .concurrency = concurrency,
                           .input_tokens = input,
                           .output_tokens = 24,
                           .requests = 4 * concurrency,
                           .ttft_s = 1,
                           .tpot_s = 1});
      }
    }
  }
  Result<PointRunner> Runner() const {
    return PointRunner::Make({.file = file_, .catalog = MOECAST_CATALOG, .threads = 2}, points_);
  }
  /// Replaces the points' figures by what the simulator says under `truth`.
  void Measure(const PointRunner& runner, const Efficiencies& truth) {
    std::vector<size_t> all;
    for (size_t i = 0; i < points_.size(); ++i) all.push_back(i);
    const Result<std::vector<PointForecast>> forecasts = runner.Run(truth, all);
    ASSERT_TRUE(forecasts.ok()) << ToString(forecasts.errors());
    for (size_t i = 0; i < points_.size(); ++i) {
      points_[i].ttft_s = (*forecasts)[i].ttft_s;
      points_[i].tpot_s = (*forecasts)[i].tpot_s;
    }
  }

  moecast::test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "scenario.yaml";
  std::vector<ServingPoint> points_;
};

TEST_F(FitServingTest, FindsTheOverheadsThatMadeThePoints) {
  const Result<PointRunner> runner = Runner();
  ASSERT_TRUE(runner.ok()) << ToString(runner.errors());
  Efficiencies truth = runner->base();
  truth.host_per_step = Seconds(5e-3);
  truth.host_per_prefill_token = Seconds(2e-5);
  Measure(*runner, truth);
  const std::vector<Parameter> parameters{Parameter::kHostPerStep, Parameter::kHostPerPrefillToken};
  const Result<ServingFit> fit = FitServing(*runner, points_, parameters);
  ASSERT_TRUE(fit.ok()) << ToString(fit.errors());
  EXPECT_NEAR(fit->efficiencies.host_per_step.count(), 5e-3, 5e-4);
  EXPECT_NEAR(fit->efficiencies.host_per_prefill_token.count(), 2e-5, 4e-6);
  EXPECT_LT(ErrorOf(points_, fit->after).tpot, 0.03);
  EXPECT_LT(ErrorOf(points_, fit->after).tpot, ErrorOf(points_, fit->before).tpot);
  EXPECT_EQ(fit->unseen.size(), points_.size());
  EXPECT_LT(ErrorOf(points_, fit->unseen).tpot, 0.05);
  EXPECT_THAT(DescribeFit(points_, *fit), HasSubstr("leave one out:"));
}

TEST_F(FitServingTest, FindsExpertsThatReadTheirWeightsSlowly) {
  const Result<PointRunner> runner = Runner();
  ASSERT_TRUE(runner.ok()) << ToString(runner.errors());
  Efficiencies truth = runner->base();
  truth.experts.memory /= 2;
  Measure(*runner, truth);
  const std::array parameters{Parameter::kHostPerStep, Parameter::kExpertsMemory};
  const Result<ServingFit> fit = FitServing(*runner, points_, parameters);
  ASSERT_TRUE(fit.ok()) << ToString(fit.errors());
  EXPECT_NEAR(fit->efficiencies.experts.memory, truth.experts.memory, truth.experts.memory / 20);
  EXPECT_EQ(fit->efficiencies.experts.compute, truth.experts.compute);
}

TEST_F(FitServingTest, TheSetCountsThatForecastsPointsLeftOutBest) {
  points_.resize(4);
  const Result<PointRunner> runner = Runner();
  ASSERT_TRUE(runner.ok()) << ToString(runner.errors());
  Efficiencies truth = runner->base();
  truth.host_per_request = Seconds(0.1);
  truth.host_per_sequence = Seconds(1e-3);  // the fifth parameter, where four are allowed
  Measure(*runner, truth);
  const Result<ServingFit> fit = FitServing(*runner, points_);
  ASSERT_TRUE(fit.ok()) << ToString(fit.errors());
  ASSERT_EQ(fit->parameters.size(), DefaultParameters(points_).size());
  EXPECT_NEAR(fit->efficiencies.host_per_sequence.count(), 1e-3, 1e-4);
  EXPECT_NEAR(fit->efficiencies.host_per_request.count(), 0.1, 0.02);
}

TEST_F(FitServingTest, TheOverlayIsAFileThatAScenarioNames) {
  const Result<PointRunner> runner = Runner();
  ASSERT_TRUE(runner.ok());
  Efficiencies truth = runner->base();
  truth.host_per_step = Seconds(2e-3);
  Measure(*runner, truth);
  const std::array parameters{Parameter::kHostPerStep};
  const Result<ServingFit> fit = FitServing(*runner, points_, parameters);
  ASSERT_TRUE(fit.ok()) << ToString(fit.errors());
  const std::string overlay = OverlayYaml("mine", points_, *fit);
  std::ofstream(folder_ / "mine.yaml") << overlay;
  const std::vector<std::string> overrides{"cost.efficiencies=" + (folder_ / "mine.yaml").string()};
  const Result<Study> study = LoadStudy(file_, overrides, MOECAST_CATALOG);
  ASSERT_TRUE(study.ok()) << ToString(study.errors());
  EXPECT_NEAR(study->cases[0].scenario.efficiencies.host_per_step.count(),
              fit->efficiencies.host_per_step.count(), 1e-8);
  const Efficiencies& loaded = study->cases[0].scenario.efficiencies;
  EXPECT_EQ(loaded.gemm.memory, runner->base().gemm.memory);
  for (const double tokens : {1.0, 100.0, 5000.0}) {
    EXPECT_NEAR(loaded.rules.Extra(SelectionKind::kOea, tokens).count(),
                runner->base().rules.Extra(SelectionKind::kOea, tokens).count(), 1e-12);
  }
  EXPECT_GT(loaded.rules.Extra(SelectionKind::kOea, 1).count(), 0);
}

TEST_F(FitServingTest, RefusesMoreParametersThanFiguresAllow) {
  points_.resize(1);
  const Result<PointRunner> runner = Runner();
  ASSERT_TRUE(runner.ok());
  const std::array two{Parameter::kHostPerStep, Parameter::kExperts};
  const Result<ServingFit> fit = FitServing(*runner, points_, two);
  ASSERT_FALSE(fit.ok());
  EXPECT_THAT(ToString(fit.errors()),
              HasSubstr("2 parameters asked for; 1 points with 2 figures allow 1 to 1"));
  EXPECT_EQ(DefaultParameters(points_).size(), 1U);
}

TEST_F(FitServingTest, AScenarioErrorNamesThePoint) {
  points_[1].overrides = {"cluster.gpu=H100"};
  const Result<PointRunner> runner = Runner();
  ASSERT_FALSE(runner.ok());
  EXPECT_THAT(ToString(runner.errors()), HasSubstr("point p:3: "));
}

TEST(Parameters, UnknownNamesGetTheNearest) {
  const std::vector<std::string> names{"host_per_stp"};
  const Result<std::vector<Parameter>> parameters = ParametersNamed(names);
  ASSERT_FALSE(parameters.ok());
  EXPECT_THAT(ToString(parameters.errors()), HasSubstr("did you mean 'host_per_step'?"));
}

TEST(Parameters, AShareNeverExceedsThePeak) {
  Efficiencies base;
  base.gemm.compute = 0.8;
  const std::array gemm{Parameter::kGemm};
  const std::array high{3.0};
  EXPECT_EQ(Apply(base, gemm, high).gemm.compute, 1);
}

TEST(EngineGroups, FitRowsAreChosenByPlaceNotByFigures) {
  EngineGroup group;
  for (const int64_t concurrency : {4, 8, 16, 32, 64, 128}) {
    SiliconRow row;
    row.point = {.concurrency = concurrency, .input_tokens = 1024, .output_tokens = 128};
    group.rows.push_back(row);
  }
  const std::vector<size_t> chosen = ChooseFitRows(group, 3);
  for (SiliconRow& row : group.rows) row.point.ttft_s = 7;
  EXPECT_EQ(ChooseFitRows(group, 3), chosen);
  EXPECT_EQ(chosen.front(), 0U);
  EXPECT_EQ(chosen.back(), 5U);
  group.rows[5].suspect = "broken";
  EXPECT_EQ(ChooseFitRows(group, 3).back(), 4U);
}

}  // namespace
}  // namespace moecast::serving
