#include "sim/run/case_files.h"

#include <gtest/gtest.h>

#include "tests/sim/run/tiny_study.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using test::TinyScenario;
using test::TinyStudy;

Time At(int64_t ns) { return Time(Duration(ns)); }

TEST(CaseFolder, IsVariantAtLoadWithPlainCharacters) {
  Study study = TinyStudy();
  study.cases[1].variant = "top 1/../é";
  EXPECT_EQ(CaseFolder(study, 0), "native@slow");
  EXPECT_EQ(CaseFolder(study, 1), "top_1_..___@slow");
}

TEST(CaseFolder, IsTheResultFolderItselfForASingleCase) {
  Study study = TinyStudy();
  study.cases.resize(1);
  EXPECT_TRUE(CaseFolder(study, 0).empty());
}

TEST(CaseFolder, StaysDistinctWhenNamesDifferOnlyInReplacedCharacters) {
  Study study = TinyStudy();
  study.cases[0].variant = "a b";
  study.cases[1].variant = "a/b";
  EXPECT_NE(CaseFolder(study, 0), CaseFolder(study, 1));
}

TEST(ReplicationFile, NumbersFilesOnlyWhenThereAreSeveral) {
  Scenario scenario = TinyScenario();
  EXPECT_EQ(ReplicationFile("requests", scenario, 0), "requests.csv");
  scenario.replications = 3;
  EXPECT_EQ(ReplicationFile("requests", scenario, 2), "requests.r2.csv");
}

std::string Written(const RequestRecord& record) {
  const TemporaryFolder folder;
  Result<RequestRowsFile> file = RequestRowsFile::Create(folder / "requests.csv");
  EXPECT_TRUE(file.ok());
  file->Add({&record, 1});
  EXPECT_TRUE(file->Commit().ok());
  const std::string text = ReadFile(folder / "requests.csv").value();
  return text.substr(text.find('\n') + 1);
}

TEST(RequestRowsFile, WritesExactDecimalTimes) {
  EXPECT_EQ(Written({.id = RequestId(3),
                     .replica = ReplicaId(1),
                     .outcome = RequestOutcome::kFinished,
                     .arrival = At(1'000'000'001),
                     .scheduled = At(1'500'000'000),
                     .first_token = At(2'000'000'000),
                     .finish = At(12'000'000'000),
                     .input_tokens = 7,
                     .output_tokens = 5,
                     .generated_tokens = 5,
                     .preemptions = 2}),
            "3,1,finished,1.000000001,1.5,2,12,7,5,5,2,999.999999,2500,10999.999999\n");
}

TEST(RequestRowsFile, LeavesWhatDidNotHappenEmpty) {
  EXPECT_EQ(Written({.outcome = RequestOutcome::kUnfinished,
                     .arrival = At(5),
                     .input_tokens = 7,
                     .output_tokens = 5}),
            "0,0,unfinished,0.000000005,,,,7,5,0,0,,,\n");
}

TEST(RequestRowsFile, LeavesNoFileWithoutCommit) {
  const TemporaryFolder folder;
  { const Result<RequestRowsFile> file = RequestRowsFile::Create(folder / "requests.csv"); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace moecast
