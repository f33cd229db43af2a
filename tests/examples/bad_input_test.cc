// Bad input through the binary: one clear message, exit code 2, nothing half written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/base/files.h"
#include "tests/examples/run_moecast.h"

namespace moecast {
namespace {

using test::Outcome;
using test::RunMoecast;
using test::TemporaryFolder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::TestWithParam;
using ::testing::Values;

constexpr const char* kExample = "scenarios/examples/01_first_forecast.yaml";
constexpr const char* kTrace = "traces/data/moecast-reference.moetrace";
constexpr const char* kMeasurements = "calibration/measurements/h200_sxm";

struct BadInput {
  std::string name;
  std::vector<std::string> arguments;
  std::vector<std::string> message;  // all must appear on stderr
};

void PrintTo(const BadInput& input, std::ostream* out) { *out << input.name; }

class BadInputTest : public TestWithParam<BadInput> {};

TEST_P(BadInputTest, IsRefusedWithAMessageAndNoFiles) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = GetParam().arguments;
  if (arguments.front() == "run") {
    arguments.insert(arguments.end(), {"--out", (folder / "out").string()});
  }
  const Outcome outcome = RunMoecast(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  for (const std::string& part : GetParam().message) EXPECT_THAT(outcome.err, HasSubstr(part));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadInputTest,
    Values(BadInput{"NoVerb", {"--threads", "2"}, {"subcommand is required"}},
           BadInput{"UnknownVerb", {"rnu"}, {"rnu", "did you mean 'run'"}},
           BadInput{"MissingFile", {"run", "no/such.yaml"}, {"no/such.yaml"}},
           BadInput{"AFolder", {"run", "scenarios"}, {"scenarios"}},
           BadInput{"UnknownTraceVerb", {"trace", "stat"}, {"stat", "did you mean 'stats'"}},
           BadInput{"NoTraceVerb", {"trace"}, {"moecast trace needs a verb", "stats"}},
           BadInput{"UnknownChoice",
                    {"trace", "tune", kTrace, "--mean-k", "4", "--rule", "lits"},
                    {"--rule", "expected one of list, tuple, aset_derived, got 'lits'",
                     "did you mean 'list'"}},
           BadInput{"UnknownGpuOfTables",
                    {"calibrate", "--aic", "traces", "--gpu", "H20O-SXM", "--out",
                     testing::TempDir() + "none.yaml"},
                    {"--gpu: 'H20O-SXM'", "did you mean 'H200-SXM'"}},
           BadInput{"UnknownOption",
                    {"explain", kExample, "--contex", "4"},
                    {"--contex", "did you mean '--context'", "moecast explain --help"}},
           BadInput{"WordTooMany", {"explain", kExample, "again"}, {"'again'"}},
           BadInput{"EmptyFolderName", {"explain", kExample, "--catalog", ""}, {"--catalog"}},
           BadInput{"ZeroThreads",
                    {"run", kExample, "--threads", "0"},
                    {"--threads", "from 1 to 4096", "'0'"}},
           BadInput{"NegativeSeed",
                    {"trace", "stats", kTrace, "--seed", "-1"},
                    {"--seed", "whole number", "'-1'"}},
           BadInput{"BatchWithExponent",
                    {"explain", kExample, "--batch", "1e9"},
                    {"--batch", "whole number", "'1e9'"}},
           BadInput{"NegativePrefill", {"explain", kExample, "--prefill", "-7"}, {"'-7'"}},
           BadInput{"MeanKIsNoNumber",
                    {"trace", "tune", kTrace, "--mean-k", "four"},
                    {"--mean-k", "expected a number", "'four'"}},
           BadInput{"EmptyProfile",
                    {"explain", kExample, "--set", "cost.profile=/dev/null"},
                    {"/dev/null"}},
           BadInput{"UnknownCase",
                    {"explain", kExample, "--case", "top-44@8 in flight"},
                    {"top-44", "did you mean 'top-4@8 in flight'"}},
           BadInput{"StepBeyondBudget", {"explain", kExample, "--batch", "1000000"}, {"1000000"}},
           BadInput{"NoCatalog", {"run", kExample, "--catalog", "no/such"}, {"no/such"}}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Fields, BadInputTest,
    Values(BadInput{"UnknownKey", {"run", kExample, "--set", "sead=3"}, {"sead", "seed"}},
           BadInput{"UnknownNestedKey",
                    {"run", kExample, "--set", "workload.stop.request=3"},
                    {"request", "requests"}},
           BadInput{"UnknownModel",
                    {"run", kExample, "--set", "model=DeepSeek-V2-Light"},
                    {"DeepSeek-V2-Light", "DeepSeek-V2-Lite"}},
           BadInput{"NotANumber", {"run", kExample, "--set", "seed=three"}, {"seed", "three"}},
           BadInput{
               "NaN",
               {"run", kExample, "--set", "workload.synthetic.input.lognormal.mean_tokens=.nan"},
               {"mean_tokens", "nan"}},
           BadInput{"MissingTrace",
                    {"run", kExample, "--set", "routing={replay: {path: no/such.routing}}"},
                    {"no/such.routing"}},
           BadInput{"ImpossibleParallelism",
                    {"run", kExample, "--set", "cluster.parallelism={tensor: 3}"},
                    {"tensor", "3"}},
           BadInput{"ModelThatDoesNotFit",
                    {"run", kExample, "--set", "model=DeepSeek-V3"},
                    {"does not fit", "GiB"}}),
    [](const auto& test) { return test.param.name; });

std::string BadFile(const TemporaryFolder& folder, std::string_view text) {
  EXPECT_TRUE(WriteFileAtomically(folder / "bad.yaml", text).ok());
  return (folder / "bad.yaml").string();
}

TEST(BadScenarioFile, EveryErrorIsNamedAtOnceWithItsPlace) {
  const TemporaryFolder folder;
  const std::string file = BadFile(folder, "nmae: x\nseed: -1\nseed: 2\n");
  const Outcome outcome = RunMoecast({"run", file});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("bad.yaml:1:1"));
  EXPECT_THAT(outcome.err, HasSubstr("nmae"));
  EXPECT_THAT(outcome.err, HasSubstr("bad.yaml:3:"));  // the doubled key
}

TEST(BadScenarioFile, DamagedYamlSaysWhere) {
  const TemporaryFolder folder;
  const Outcome outcome = RunMoecast({"run", BadFile(folder, "name: [1, 2\nseed: 3\n")});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("bad.yaml:"));
}

TEST(Output, AFullDiskBehindStdoutIsAnError) {
  const Outcome outcome = RunMoecast({"run", kExample, "--resolve"}, {.redirect = "/dev/full"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("No space left"));
}

// A file size limit makes writes fail part of the way, as a full disk does.
TEST(Output, AWriteThatFailsLeavesNothingBehind) {
  const TemporaryFolder folder;
  const Outcome outcome = RunMoecast({"run", kExample, "--out", (folder / "out").string()},
                                     {.before = "trap '' XFSZ; ulimit -f 8;"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("large"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Output, AReportThatCannotBeWrittenIsAnErrorAndPrintsNothing) {
  const TemporaryFolder folder;
  const std::string trace = "traces/data/moecast-reference.moetrace";
  const std::string report = (folder / "none/report.html").string();
  const Outcome outcome = RunMoecast({"trace", "stats", trace, "--report", report});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, HasSubstr(report));
}

TEST(Output, AFolderThatCannotBeMadeIsAnError) {
  const Outcome outcome = RunMoecast({"run", kExample, "--out", "/proc/moecast"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("/proc/moecast"));
}

TEST(Output, AFolderWithOtherFilesIsNotTouched) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "mine.txt", "mine").ok());
  const Outcome outcome = RunMoecast({"run", kExample, "--out", folder.path().string()});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("not empty"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(BadInput, AReportMayNotOverwriteItsTrace) {
  const Outcome outcome = RunMoecast({"trace", "stats", kTrace, "--report", kTrace});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("names the input"));
}

TEST(BadInput, NoVerbOverwritesWhatItReads) {
  const TemporaryFolder folder;
  const std::string mine = (folder / "mine").string();
  ASSERT_TRUE(WriteFileAtomically(mine, "mine").ok());
  const std::vector<std::vector<std::string>> calls = {
      {"trace", "take", mine},       {"trace", "fit", mine},       {"trace", "import", mine},
      {"trace", "synthesize", mine}, {"trace", "placement", mine}, {"import", "model", mine}};
  for (std::vector<std::string> call : calls) {
    call.insert(call.end(), {"--out", mine});
    const Outcome outcome = RunMoecast(call);
    EXPECT_EQ(outcome.exit_code, 2) << call[1];
    EXPECT_THAT(outcome.err, HasSubstr("--out: names the input")) << call[1];
    EXPECT_EQ(*ReadFile(mine), "mine");
  }
}

TEST(BadInput, CalibrateRefusesOptionsThatItsSourceLeavesUnread) {
  const TemporaryFolder folder;
  const std::string out = (folder / "p.yaml").string();
  for (const char* option : {"--ops", "--gpu", "--scenario", "--fit"}) {
    const Outcome outcome =
        RunMoecast({"calibrate", "--measurements", kMeasurements, "--out", out, option, "x"});
    EXPECT_EQ(outcome.exit_code, 2) << option;
    EXPECT_THAT(outcome.err, HasSubstr(std::string(option) + ": is read only with"));
  }
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(BadInput, AProfileDoesNotAppearWithoutItsReport) {
  const TemporaryFolder folder;
  const std::string out = (folder / "p.yaml").string();
  const std::string report = (folder / "none/report.md").string();
  const Outcome outcome =
      RunMoecast({"calibrate", "--measurements", kMeasurements, "--out", out, "--report", report});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr(report));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(BadInput, AbsentMeasurementsAreToldFromAFolderOfOtherThings) {
  const auto message = [](const char* folder) {
    return RunMoecast({"calibrate", "--measurements", folder, "--out", "unused.yaml"}).err;
  };
  EXPECT_THAT(message("no/such"), HasSubstr("no/such: is not a folder"));
  EXPECT_THAT(message("docs"), HasSubstr("docs: holds no environment.yaml"));
}

}  // namespace
}  // namespace moecast
