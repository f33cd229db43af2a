#include "sim/run/run_study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "sim/base/files.h"
#include "sim/run/case_files.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using test::TemporaryFolder;
using test::TinyStudy;
using ::testing::HasSubstr;

std::vector<uint64_t> Fingerprints(const StudyResult& result) {
  std::vector<uint64_t> fingerprints;
  for (const CaseResult& c : result.cases) {
    for (const RunResult& run : c.replications) fingerprints.push_back(run.fingerprint);
  }
  return fingerprints;
}

/// The columns of requests.csv that the traffic alone decides: id, arrival, input, output.
std::vector<std::string> TrafficColumns(const std::filesystem::path& file) {
  std::vector<std::pair<int64_t, std::string>> rows;  // rows are in finish order
  std::istringstream lines(ReadFile(file).value());
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    rows.emplace_back(std::stoll(cells[0]), cells[3] + " " + cells[7] + " " + cells[8]);
  }
  std::sort(rows.begin(), rows.end());
  std::vector<std::string> traffic;
  traffic.reserve(rows.size());
  for (auto& [id, text] : rows) traffic.push_back(std::move(text));
  return traffic;
}

TEST(RunStudy, GivesTheSameRunsAndBytesAtAnyThreadCountInv2) {
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) c.scenario.replications = 3;
  const TemporaryFolder one;
  const TemporaryFolder four;
  const StudyResult a = RunStudy(study, {.threads = 1, .request_rows = one.path()}).value();
  const StudyResult b = RunStudy(study, {.threads = 4, .request_rows = four.path()}).value();
  EXPECT_EQ(Fingerprints(a), Fingerprints(b));
  for (size_t i = 0; i < study.cases.size(); ++i) {
    for (uint32_t r = 0; r < 3; ++r) {
      const std::filesystem::path name =
          CaseFolder(study, i) / ReplicationFile("requests", study.cases[i].scenario, r);
      EXPECT_EQ(ReadFile(one.path() / name).value(), ReadFile(four.path() / name).value()) << name;
    }
  }
}

TEST(RunStudy, VariantsSeeIdenticalTrafficInv8) {
  const Study study = TinyStudy();
  const TemporaryFolder folder;
  ASSERT_TRUE(RunStudy(study, {.threads = 1, .request_rows = folder.path()}).ok());
  const std::vector<std::string> native = TrafficColumns(folder / "native@slow/requests.csv");
  EXPECT_EQ(native.size(), 40U);
  EXPECT_EQ(native, TrafficColumns(folder / "top-1@slow/requests.csv"));
}

TEST(RunStudy, ReplicationsDrawDifferentTraffic) {
  Study study = TinyStudy();
  study.cases.resize(1);
  study.cases[0].scenario.replications = 2;
  const StudyResult result = RunStudy(study, {}).value();
  const std::vector<uint64_t> fingerprints = Fingerprints(result);
  ASSERT_EQ(fingerprints.size(), 2U);
  EXPECT_NE(fingerprints[0], fingerprints[1]);
}

TEST(RunStudy, EveryRequestIsAccountedForInv1) {
  const StudyResult result = RunStudy(TinyStudy(), {}).value();
  for (const CaseResult& c : result.cases) {
    const Summary& s = c.replications.front().summary;
    EXPECT_EQ(s.arrived, s.finished + s.rejected + s.unfinished);
    EXPECT_EQ(s.arrived, 40U);
  }
}

TEST(RunStudy, CountsEveryRoutedAssignmentInv7) {
  Study study = TinyStudy();
  study.cases.resize(2);
  const StudyResult result = RunStudy(study, {}).value();
  for (size_t i = 0; i < 2; ++i) {
    const RunResult& run = result.cases[i].replications.front();
    uint64_t assignments = 0;
    for (const uint64_t count : run.expert_totals) assignments += count;
    const uint64_t kept = i == 0 ? 2 : 1;
    EXPECT_EQ(assignments, kept * (run.routing.prefill_rows + run.routing.decode_rows));
  }
}

TEST(RunStudy, ReportsProgressOncePerRun) {
  std::vector<int> done;
  const Study study = TinyStudy();
  ASSERT_TRUE(RunStudy(study, {.threads = 2,
                               .progress =
                                   [&](int n, int all) {
                                     EXPECT_EQ(all, 4);
                                     done.push_back(n);
                                   }})
                  .ok());
  EXPECT_EQ(done, (std::vector<int>{1, 2, 3, 4}));
}

TEST(RunStudy, NamesAModelThatDoesNotFitOnceAndRunsNothing) {
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) c.scenario.device.hbm_capacity = Bytes(1000);
  int runs = 0;
  const Result<StudyResult> result = RunStudy(study, {.progress = [&](int, int) { ++runs; }});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.errors().size(), 1U);
  EXPECT_EQ(runs, 0);
}

TEST(RunStudy, ReportsAMalformedTraceRowMetOnTheWay) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "t.csv",
                                  "arrived_at,num_prefill_tokens,num_decode_tokens\n"
                                  "0.0,4,2\n0.1,4,2\n0.2,oops,2\n")
                  .ok());
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) {
    TraceWorkload trace;
    trace.format = RequestTraceFormat::kVidurCsv;
    trace.path = folder / "t.csv";
    c.scenario.workload = trace;
  }
  const TemporaryFolder out;
  const Result<StudyResult> result = RunStudy(study, {.threads = 3, .request_rows = out.path()});
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(ToString(result.errors()), HasSubstr("oops"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(out.path())) {
    EXPECT_TRUE(entry.is_directory()) << entry.path();  // no half-written rows
  }
}

}  // namespace
}  // namespace moecast
