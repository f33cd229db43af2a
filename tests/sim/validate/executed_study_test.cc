#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "sim/run/case_files.h"
#include "sim/validate/execute_study.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/sim/validate/fake_executor.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::SeenRun;
using test::TinyStudy;
using ::testing::HasSubstr;

ExecutedStudy Execute(const Study& study, std::vector<SeenRun>& seen) {
  return ExecuteStudy(study, test::Recording(seen, test::AffineStep), {}).value();
}

TEST(ExecuteStudy, StepsLastAsLongAsTheExecutorSaysPlusTheHost) {
  std::vector<SeenRun> seen;
  Study study = TinyStudy();
  study.cases.resize(1);
  study.cases[0].scenario.efficiencies.host_per_step = Seconds(2e-4);
  const ExecutedStudy executed = Execute(study, seen);
  ASSERT_FALSE(executed.steps.empty());
  Seconds busy;
  for (const StepComparison& step : executed.steps) {
    EXPECT_DOUBLE_EQ(step.host.count(), 2e-4);
    EXPECT_DOUBLE_EQ(
        step.executed.count(),
        1e-3 + 1e-5 * static_cast<double>(step.decode_sequences + step.prefill_tokens));
    busy += step.executed + step.host;
  }
  const Summary& summary = executed.result.cases[0].replications[0].summary;
  EXPECT_EQ(summary.steps, executed.steps.size());
  EXPECT_NEAR(summary.busy.count(), busy.count(), 1e-9 * static_cast<double>(summary.steps));
  EXPECT_NEAR(summary.by_label[static_cast<size_t>(Label::kMeasured)].count() +
                  summary.by_label[static_cast<size_t>(Label::kAnalytic)].count(),
              busy.count(), 1e-12);
}

TEST(ExecuteStudy, EverySequenceComputesEachOfItsTokensOnce) {
  std::vector<SeenRun> seen;
  Study study = TinyStudy();
  study.cases.resize(1);
  const ExecutedStudy executed = Execute(study, seen);
  std::map<uint32_t, int64_t> cached;  // by slot
  int64_t sampled = 0;
  for (const SeenRun& run : seen) {
    bool decodes_are_over = false;
    for (const SequenceWork& work : run.sequences) {
      EXPECT_FALSE(work.decodes && decodes_are_over) << "decodes come first";
      decodes_are_over = !work.decodes;
      if (work.past > 0) {
        EXPECT_EQ(work.past, cached[work.slot]);
      }
      cached[work.slot] = work.past + work.tokens;
      if (work.emits) ++sampled;
    }
  }
  EXPECT_EQ(sampled, 40 * 6);  // requests times output tokens
  EXPECT_EQ(executed.result.cases[0].replications[0].summary.finished, 40U);
}

TEST(ExecuteStudy, HandsOverTheExpertsOfEveryTokenAndLayer) {
  std::vector<SeenRun> seen;
  Study study = TinyStudy();
  study.cases.resize(2);  // native top-2, then top-1
  Execute(study, seen);
  for (const SeenRun& run : seen) {
    int64_t tokens = 0;
    for (const SequenceWork& work : run.sequences) tokens += work.tokens;
    EXPECT_EQ(run.experts.size(), static_cast<size_t>(tokens * 2));
    EXPECT_LE(tokens, run.rows);
  }
}

TEST(ExecuteStudy, SeesTheTrafficOfThePredictionInv8) {
  std::vector<SeenRun> seen;
  const Study study = TinyStudy();
  const ExecutedStudy executed = Execute(study, seen);
  const StudyResult predicted = RunStudy(study, {}).value();
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const Summary& p = predicted.cases[i].replications[0].summary;
    const Summary& e = executed.result.cases[i].replications[0].summary;
    EXPECT_EQ(p.arrived, e.arrived);
    EXPECT_EQ(p.measured_input_tokens, e.measured_input_tokens);
    EXPECT_EQ(p.measured_output_tokens, e.measured_output_tokens);
  }
}

TEST(ExecuteStudy, TimesTheOpsOfEachKindOfStepOnce) {
  std::vector<SeenRun> seen;
  Study study = TinyStudy();
  study.cases.resize(1);
  Execute(study, seen);
  EXPECT_TRUE(seen.front().time_ops);
  size_t timed = 0;
  for (const SeenRun& run : seen) timed += run.time_ops ? 1 : 0;
  EXPECT_LT(timed, seen.size() / 2);
}

TEST(ExecuteStudy, OpensAnExecutorOnlyWhereTheCaseBeforeHadAnother) {
  std::vector<SeenRun> seen;
  Study study = TinyStudy();
  ASSERT_EQ(study.cases.size(), 4U);
  int opened = 0;
  const OpenExecutor recording = test::Recording(seen, test::AffineStep);
  const OpenExecutor counting = [&](const ExecutorRequest& request) {
    ++opened;
    return recording(request);
  };
  ASSERT_TRUE(ExecuteStudy(study, counting, {}).ok());
  EXPECT_EQ(opened, 1);
  opened = 0;
  study.cases[2].scenario.engine.max_sequences += 1;
  ASSERT_TRUE(ExecuteStudy(study, counting, {}).ok());
  EXPECT_EQ(opened, 3);
}

TEST(SameExecutor, TellsModelsAndFormatsApart) {
  const ExecutorRequest request{.model = TinyStudy().cases[0].scenario.model, .kv_tokens = 1000};
  EXPECT_TRUE(SameExecutor(request, request));
  ExecutorRequest other = request;
  other.model.formats.experts.name = "another";
  EXPECT_FALSE(SameExecutor(request, other));
  other = request;
  other.model.layers.pop_back();
  EXPECT_FALSE(SameExecutor(request, other));
  other = request;
  other.model.moe->expert_intermediate += 1;
  EXPECT_FALSE(SameExecutor(request, other));
  other = request;
  other.kv.rotated = true;
  EXPECT_FALSE(SameExecutor(request, other));
}

TEST(ExecuteStudy, SaysWhatHappensAndWhereTheTimeWent) {
  std::vector<SeenRun> seen;
  const Study study = TinyStudy();
  std::vector<std::string> said;
  const ExecutedStudy executed =
      ExecuteStudy(study, test::Recording(seen, test::AffineStep),
                   {.progress = [&said](const std::string& what) { said.push_back(what); }})
          .value();
  EXPECT_EQ(said.front(), "routing tables");
  EXPECT_THAT(said.back(), HasSubstr("4 of 4"));
  ASSERT_EQ(executed.times.size(), 4U);
  Seconds first;
  for (const StepComparison& step : executed.steps) {
    if (step.case_index == 0) first += step.executed;
  }
  EXPECT_NEAR(executed.times[0].gpu.count(), first.count(), 1e-12);
  EXPECT_GT(executed.times[0].all.count(), 0);
}

TEST(ExecuteStudy, KeepsEveryRequestRowLikeARun) {
  std::vector<SeenRun> seen;
  const Study study = TinyStudy();
  const test::TemporaryFolder folder;
  const OpenExecutor open = test::Recording(seen, test::AffineStep);
  ASSERT_TRUE(ExecuteStudy(study, open, {.request_rows = folder.path()}).ok());
  for (size_t i = 0; i < study.cases.size(); ++i) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() / CaseFolder(study, i) / "requests.csv"));
  }
}

TEST(ExecuteStudy, ReportsAStepThatCouldNotBeRun) {
  int runs = 0;
  const OpenExecutor open = [&runs](const ExecutorRequest&) -> Result<StepExecutor> {
    return StepExecutor{.device = "fake", .run = [&runs](const StepRun&) -> Result<ExecutedStep> {
                          if (++runs == 3) return Error{"the card fell out", "step"};
                          return ExecutedStep{.gpu = Seconds(1e-3)};
                        }};
  };
  const Result<ExecutedStudy> executed = ExecuteStudy(TinyStudy(), open, {});
  ASSERT_FALSE(executed.ok());
  EXPECT_THAT(ToString(executed.errors()), HasSubstr("the card fell out"));
  EXPECT_EQ(runs, 3) << "nothing runs after a failure";
}

TEST(CheckExecutable, RefusesWhatNoSingleGpuRuns) {
  Study study = TinyStudy();
  EXPECT_TRUE(CheckExecutable(study).ok());
  study.cases[0].scenario.replicas = 2;
  study.cases[1].scenario.routing = UniformRouting{};
  study.cases[2].scenario.engine.padding = GraphPadding::kRouted;
  const Status status = CheckExecutable(study);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(ToString(status.errors()), HasSubstr("has 2 of 1 GPUs"));
  EXPECT_THAT(ToString(status.errors()), HasSubstr("case 'top-1@slow': routing"));
  EXPECT_THAT(ToString(status.errors()), HasSubstr("graph_padding must be `masked`"));
}

TEST(CheckExecutable, RefusesWhatIsDecidedWhileItRuns) {
  Study study = TinyStudy();
  study.cases[0].scenario.experts = ExpertPolicy({ExpertRule{BatchRule{}}});
  study.cases[1].scenario.kv = KvSlidingEviction{};
  const Status status = CheckExecutable(study);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(ToString(status.errors()), HasSubstr("case 'native@slow': experts"));
  EXPECT_THAT(ToString(status.errors()), HasSubstr("case 'top-1@slow': kv"));
}

}  // namespace
}  // namespace moecast
