#include "sim/validate/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "sim/validate/validation_files.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/sim/validate/fake_executor.h"

namespace moecast {
namespace {

using test::TinyStudy;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// An executor that answers `times` in order, each times `factor`.
OpenExecutor Echo(const std::vector<Seconds>& times, size_t& next, double factor) {
  return [&times, &next, factor](const ExecutorRequest&) -> Result<StepExecutor> {
    return StepExecutor{.device = "fake", .run = [&times, &next, factor](const StepRun&) {
                          return Result<ExecutedStep>(ExecutedStep{.gpu = times[next++] * factor});
                        }};
  };
}

/// GPU time that is predicted for every step, case by case. REQUIRES: the steps of the study do not
/// depend on how long they last.
std::vector<Seconds> PredictedSteps(const Study& study) {
  std::vector<test::SeenRun> seen;
  std::vector<Seconds> times;
  const ExecutedStudy executed =
      ExecuteStudy(study, test::Recording(seen, test::AffineStep), {}).value();
  for (const StepComparison& step : executed.steps) times.push_back(step.predicted);
  return times;
}

/// One request at a time: which steps there are does not depend on how long they last.
Study OneByOne() {
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) {
    c.scenario.engine.graph_batch_sizes = {1, 2, 4, 8};
    std::get<SyntheticWorkload>(c.scenario.workload).arrivals = ClosedLoop{.concurrency = 1};
  }
  return study;
}

struct Compared {
  Study study;
  ExecutedStudy executed;
  Validation validation;
};

Compared CompareWithFactor(double factor) {
  Study study = OneByOne();
  const std::vector<Seconds> times = PredictedSteps(study);
  size_t next = 0;
  ExecutedStudy executed = ExecuteStudy(study, Echo(times, next, factor), {}).value();
  EXPECT_EQ(next, times.size());
  const StudyResult predicted = RunStudy(study, {}).value();
  Validation validation = Compare(study, predicted, executed);
  return {std::move(study), std::move(executed), std::move(validation)};
}

TEST(Validation, OfAnExecutionThatEqualsThePredictionIsZeroEverywhere) {
  const Compared c = CompareWithFactor(1);
  ASSERT_EQ(c.validation.whole_cases.size(), 4U);
  for (const ErrorLine& line : c.validation.steps) {
    EXPECT_NEAR(line.error.mean, 0, 1e-12);
    EXPECT_NEAR(line.error.bias, 0, 1e-12);
  }
  ASSERT_FALSE(c.validation.figures.empty());
  for (const FigureError& figure : c.validation.figures) {
    EXPECT_NEAR(figure.error(), 0, 1e-5) << figure.key;  // times are rounded up to 1 ns
  }
  ASSERT_EQ(c.validation.speedups.size(), 2U);
  for (const SpeedupError& speedup : c.validation.speedups) {
    EXPECT_NEAR(speedup.points(), 0, 1e-3);
  }
  EXPECT_THAT(Excesses(c.study, c.validation, {.steps = 1e-4, .tails = 1e-4, .speedups = 0.01}),
              IsEmpty());
}

TEST(Validation, OfAnExecutionTenPercentSlowerSaysSoInEveryLine) {
  const Compared c = CompareWithFactor(1.1);
  const double error = 1 / 1.1 - 1;
  for (const ErrorLine& line : c.validation.whole_cases) {
    EXPECT_NEAR(line.error.bias, error, 1e-9);
    EXPECT_NEAR(line.error.mean, -error, 1e-9);
    EXPECT_NEAR(line.error.p95, -error, 1e-9);
  }
  for (const FigureError& figure : c.validation.figures) {
    // Latencies are predicted too short, throughput too high.
    const double expected = figure.key == "output_tokens_per_s" ? 0.1 : error;
    EXPECT_NEAR(figure.error(), expected, 5e-4) << figure.key;  // steps of some us, rounded to ns
  }
  for (const SpeedupError& speedup : c.validation.speedups) {
    EXPECT_NEAR(speedup.points(), 0, 1e-2) << "a common factor changes no speed-up";
  }
  const std::vector<std::string> excesses =
      Excesses(c.study, c.validation, {.steps = 0.03, .tails = 0.2, .speedups = 2});
  // Per case: the steps, throughput, and the medians of TTFT, TPOT and ITL.
  EXPECT_EQ(excesses.size(), 4U * 5U);
  EXPECT_THAT(excesses.front(), HasSubstr("native@slow: mean error of steps 9.1 %, allowed 3.0 %"));
}

TEST(Validation, WithoutTolerancesHasNoExcess) {
  const Compared c = CompareWithFactor(2);
  EXPECT_THAT(Excesses(c.study, c.validation, {}), IsEmpty());
}

TEST(Summarise, MatchesHandComputedErrors) {
  const std::vector<Seconds> predicted{Seconds(1.1), Seconds(1.8), Seconds(4)};
  const std::vector<Seconds> executed{Seconds(1), Seconds(2), Seconds(4)};
  const ErrorSummary error = Summarise(predicted, executed);
  EXPECT_EQ(error.count, 3);
  EXPECT_NEAR(error.bias, 6.9 / 7 - 1, 1e-12);
  EXPECT_NEAR(error.mean, 0.2 / 3, 1e-12);
  EXPECT_NEAR(error.median, 0.1, 1e-12);
  EXPECT_NEAR(error.p95, 0.1, 1e-12);
}

TEST(Validation, GroupsStepsByOctavesOfBatchAndContext) {
  Study study = OneByOne();
  study.cases.resize(1);
  ExecutedStudy executed;
  executed.result = RunStudy(study, {}).value();
  const auto step = [&](int64_t batch, int64_t context, int64_t prefill) {
    executed.steps.push_back({.decode_sequences = batch,
                              .decode_context = batch * context,
                              .prefill_tokens = prefill,
                              .predicted = Seconds(1),
                              .executed = Seconds(1)});
  };
  step(17, 600, 0);
  step(32, 1024, 0);
  step(33, 1024, 0);
  step(1, 1, 0);
  step(20, 100, 300);
  step(0, 0, 512);
  const Validation validation = Compare(study, executed.result, executed);
  std::vector<std::string> groups;
  for (const ErrorLine& line : validation.steps) groups.push_back(line.group);
  EXPECT_EQ(groups, (std::vector<std::string>{
                        "decode batch 1, context 1", "decode batch 17-32, context 513-1024",
                        "decode batch 33-64, context 513-1024", "prefill 257-512",
                        "prefill 257-512, decode batch 17-32"}));
  EXPECT_EQ(validation.steps[1].error.count, 2);
}

TEST(Validation, JoinsOpsAndAddsThemUpToTheStep) {
  Study study = OneByOne();
  study.cases.resize(1);
  const OpenExecutor open = [](const ExecutorRequest&) -> Result<StepExecutor> {
    return StepExecutor{.device = "fake", .run = [](const StepRun& run) {
                          ExecutedStep step{.gpu = Seconds(10e-3)};
                          if (run.time_ops) {
                            step.ops = {{.op = "gemm.qkv", .time = Seconds(4e-3)},
                                        {.op = "route", .time = Seconds(3e-3)},
                                        {.op = "experts", .time = Seconds(5e-3)}};
                            step.layers = Seconds(11e-3);
                          }
                          return Result<ExecutedStep>(std::move(step));
                        }};
  };
  const ExecutedStudy executed = ExecuteStudy(study, open, {}).value();
  const Validation validation = Compare(study, RunStudy(study, {}).value(), executed);
  ASSERT_EQ(validation.compositions.size(), 1U);
  EXPECT_NEAR(validation.compositions[0].ops_error(), 0.2, 1e-12);
  EXPECT_NEAR(validation.compositions[0].layers_error(), 0.1, 1e-12);
  std::vector<std::string> ops;
  for (const ErrorLine& line : validation.ops) ops.push_back(line.group);
  EXPECT_EQ(ops,
            (std::vector<std::string>{"experts", "experts, with prompts", "gemm.qkv",
                                      "gemm.qkv, with prompts", "route", "route, with prompts"}));
  for (const ErrorLine& line : validation.ops) EXPECT_GT(line.predicted.count(), 0);
}

TEST(ValidationFiles, HaveOneRowPerStepGroupFigureAndCase) {
  const Compared c = CompareWithFactor(1.1);
  const auto lines = [](const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  EXPECT_EQ(lines(StepsCsv(c.study, c.executed.steps)), 1 + c.executed.steps.size());
  EXPECT_EQ(lines(ErrorLinesCsv(c.study, c.validation.steps)), 1 + c.validation.steps.size());
  EXPECT_EQ(lines(FigureErrorsCsv(c.study, c.validation)),
            1 + c.validation.figures.size() + c.validation.speedups.size());
  const std::string csv = StepsCsv(c.study, c.executed.steps);
  std::istringstream rows(csv);
  std::string header;
  std::string first;
  std::getline(rows, header);
  std::getline(rows, first);
  EXPECT_EQ(std::count(header.begin(), header.end(), ','),
            std::count(first.begin(), first.end(), ','));
  EXPECT_THAT(first, HasSubstr("-9.09"));
  EXPECT_THAT(RenderValidation(c.study, c.validation, c.executed), HasSubstr("| native@slow | "));
}

}  // namespace
}  // namespace moecast
