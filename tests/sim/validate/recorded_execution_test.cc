// A recorded execution is the same run as the one that was recorded, whoever prices it, and no
// other run is taken for it.
#include "sim/validate/recorded_execution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/files.h"
#include "sim/validate/validation_files.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/sim/validate/fake_executor.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using test::TinyStudy;
using ::testing::HasSubstr;

/// No round numbers, and of some steps two ops.
Result<ExecutedStep> Uneven(const StepRun& run) {
  const auto part = [time = test::AffineStep(run)](double of) { return WholeNs(time * (1 / of)); };
  ExecutedStep step{.gpu = part(3), .sm_mhz = 1789.123456};
  if (run.time_ops) {
    step.ops = {{.op = "gemm.qkv", .time = part(21)}, {.op = "route", .time = part(33)}};
    step.layers = part(3.3);
  }
  return step;
}

ExecutedStudy Execute(const Study& study) {
  const OpenExecutor open = [](const ExecutorRequest&) -> Result<StepExecutor> {
    return StepExecutor{.device = "a card, \"fake\"", .run = Uneven};
  };
  return ExecuteStudy(study, open, {}).value();
}

void Write(const TemporaryFolder& folder, const Study& study, const ExecutedStudy& executed) {
  ASSERT_TRUE(WriteFileAtomically(folder / "cases.csv", CasesCsv(study, executed)).ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "steps.csv", StepsCsv(study, executed.steps)).ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "ops.csv", OpsCsv(study, executed.steps)).ok());
}

class Recorded : public testing::Test {
 protected:
  void SetUp() override {
    executed_ = Execute(study_);
    Write(folder_, study_, executed_);
  }
  /// One cell of the file replaced by another, the first time it is there.
  void Replace(const char* name, const std::string& from, const std::string& to) {
    std::string text = ReadFile(folder_ / name).value();
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, text.replace(at, from.size(), to)).ok());
  }
  [[nodiscard]] std::string ReadError() const {
    const auto recorded = RecordedExecution::Read(folder_.path());
    return recorded.ok() ? "read" : ToString(recorded.errors());
  }
  /// What taking the record for an execution of `study` says.
  [[nodiscard]] std::string ReplayError(const Study& study) const {
    const auto recorded = RecordedExecution::Read(folder_.path()).value();
    const auto again = ExecuteStudy(study, recorded.Open(), {});
    if (!again.ok()) return ToString(again.errors());
    const Status used = recorded.CheckUsedUp();
    return used.ok() ? "the same" : ToString(used.errors());
  }

  Study study_ = TinyStudy();
  TemporaryFolder folder_;
  ExecutedStudy executed_;
};

TEST_F(Recorded, IsTheSameRunToTheBit) {
  const auto recorded = RecordedExecution::Read(folder_.path()).value();
  ExecutedStudy again = ExecuteStudy(study_, recorded.Open(), {}).value();
  again.times = recorded.times();
  EXPECT_TRUE(recorded.CheckUsedUp().ok());
  EXPECT_EQ(CasesCsv(study_, again), CasesCsv(study_, executed_));
  EXPECT_EQ(StepsCsv(study_, again.steps), StepsCsv(study_, executed_.steps));
  EXPECT_EQ(OpsCsv(study_, again.steps), OpsCsv(study_, executed_.steps));
  for (size_t i = 0; i < study_.cases.size(); ++i) {
    EXPECT_EQ(again.result.cases[i].replications[0].fingerprint,
              executed_.result.cases[i].replications[0].fingerprint);
  }
}

TEST_F(Recorded, IsPricedAnew) {
  Study slower = study_;
  for (StudyCase& c : slower.cases) c.scenario.efficiencies.gemm.memory /= 2;
  const auto recorded = RecordedExecution::Read(folder_.path()).value();
  const ExecutedStudy again = ExecuteStudy(slower, recorded.Open(), {}).value();
  ASSERT_EQ(again.steps.size(), executed_.steps.size());
  for (size_t i = 0; i < again.steps.size(); ++i) {
    EXPECT_EQ(again.steps[i].executed, executed_.steps[i].executed);
    EXPECT_GT(again.steps[i].predicted, executed_.steps[i].predicted);
  }
}

TEST_F(Recorded, RefusesAnotherSeedWorkloadOrModel) {
  EXPECT_EQ(ReplayError(study_), "the same");
  Study other = study_;
  for (StudyCase& c : other.cases) c.scenario.seed += 1;
  EXPECT_THAT(ReplayError(other), HasSubstr("steps.csv:2"));
  EXPECT_THAT(ReplayError(other), HasSubstr("another scenario, seed, trace or version"));
  other = study_;
  other.cases[1].scenario.experts = NativeTopK{};
  EXPECT_THAT(ReplayError(other), HasSubstr("'top-1@slow'"));
  other = study_;
  for (StudyCase& c : other.cases) c.scenario.model.name = "another";
  EXPECT_THAT(ReplayError(other), HasSubstr("steps.csv:2"));
}

TEST_F(Recorded, RefusesAnotherNumberOfSteps) {
  Study fewer = study_;
  fewer.cases.pop_back();
  EXPECT_THAT(ReplayError(fewer), HasSubstr("of 'top-1@fast' and what follows"));
  Study more = study_;
  more.cases.push_back(study_.cases.front());
  EXPECT_THAT(ReplayError(more), HasSubstr("the scenario's run has more steps than the"));
}

TEST_F(Recorded, NamesTheLineThatIsNoRecord) {
  Replace("steps.csv", "case,step", "case,steps");
  EXPECT_THAT(ReadError(), HasSubstr("steps.csv:1: expected the header case,step,"));
  Write(folder_, study_, executed_);
  Replace("steps.csv", "1789.123456", "fast");
  EXPECT_THAT(ReadError(), HasSubstr("steps.csv:2: sm_mhz: expected a number, got 'fast'"));
  Write(folder_, study_, executed_);
  Replace("ops.csv", "\"native@slow\",0,", "\"native@slow\",999999,");
  EXPECT_THAT(ReadError(), HasSubstr("ops.csv:2: step: steps.csv has no step 999999"));
  Write(folder_, study_, executed_);
  Replace("cases.csv", "native@slow\",", "native@slow\",1,");
  EXPECT_THAT(ReadError(), HasSubstr("cases.csv:2: expected 7 cells, got 8"));
  Write(folder_, study_, executed_);
  std::filesystem::remove(folder_ / "ops.csv");
  EXPECT_THAT(ReadError(), HasSubstr("ops.csv"));
}

}  // namespace
}  // namespace moecast
