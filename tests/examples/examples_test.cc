// Every file in scenarios/examples runs as its header comment says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "sim/base/files.h"
#include "tests/examples/run_moecast.h"
#include "tests/support/golden.h"

namespace moecast {
namespace {

using test::MatchesGolden;
using test::Outcome;
using test::RunMoecast;
using test::SharedData;
using test::TemporaryFolder;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kFirst = "scenarios/examples/01_first_forecast.yaml";

/// Without the line that names the build.
std::string WithoutBuild(const std::string& text) {
  std::istringstream stream(text);
  std::string kept;
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with("made by")) kept += line + "\n";
  }
  return kept;
}

/// Contents of every file below a folder, by relative path.
std::map<std::string, std::string> Tree(const std::filesystem::path& root) {
  std::map<std::string, std::string> tree;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) {
      tree[entry.path().lexically_relative(root).string()] = ReadFile(entry.path()).value();
    }
  }
  return tree;
}

TEST(FirstForecast, PrintsTheGoldenTable) {
  const Outcome outcome = RunMoecast({"run", kFirst});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(MatchesGolden("01_first_forecast/console.txt", WithoutBuild(outcome.out)));
}

/// The cells of a CSV line; a comma between quotes is text.
std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

/// One column of table.csv, by case.
std::vector<double> Column(const std::string& csv, const std::string& name) {
  std::istringstream lines(csv);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(Cells(line));
  const auto column =
      static_cast<size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin());
  std::vector<double> values;
  for (size_t r = 1; r < rows.size(); ++r) values.push_back(std::stod(rows[r].at(column)));
  return values;
}

// What must hold whatever the constants of the golden are: variants are ordered top-8, top-4,
// top-2.
TEST(FirstForecast, FewerExpertsReadLessServeFasterAndKeepLessGateMass) {
  const TemporaryFolder folder;
  ASSERT_EQ(RunMoecast({"run", kFirst, "--out", folder / "out"}).exit_code, 0);
  const std::string csv = ReadFile(folder / "out/table.csv").value();
  const std::vector<double> output = Column(csv, "output_tokens_per_s");
  const std::vector<double> tpot = Column(csv, "tpot_median_ms");
  const std::vector<double> distinct = Column(csv, "mean_distinct_experts");
  const std::vector<double> mass = Column(csv, "kept_gate_mass");
  ASSERT_EQ(output.size(), 9U);
  for (size_t i = 0; i < output.size(); ++i) {
    if (i % 3 == 0) {
      EXPECT_EQ(mass[i], 1);
      continue;
    }
    EXPECT_GT(output[i], output[i - 1]);
    EXPECT_LT(tpot[i], tpot[i - 1]);
    EXPECT_LT(distinct[i], distinct[i - 1]);
    EXPECT_LT(mass[i], mass[i - 1]);
  }
}

TEST(FirstForecast, WritesTheSameBytesAtAnyThreadCountInv2) {
  const TemporaryFolder folder;
  const Outcome one = RunMoecast({"run", kFirst, "--threads", "1", "--out", folder / "a"});
  const Outcome two = RunMoecast({"run", kFirst, "--threads", "2", "--out", folder / "b"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  ASSERT_EQ(two.exit_code, 0) << two.err;
  const auto a = Tree(folder / "a");
  const auto b = Tree(folder / "b");
  EXPECT_TRUE(a.contains("top-2@8_in_flight/requests.r0.csv"));
  EXPECT_TRUE(a.contains("study.json"));
  EXPECT_EQ(a, b);
}

// What was resolved runs as it stands and gives the same forecast.
TEST(FirstForecast, ResolvedScenarioGivesTheSameForecast) {
  const TemporaryFolder folder;
  const Outcome resolved = RunMoecast({"run", kFirst, "--resolve"});
  ASSERT_EQ(resolved.exit_code, 0) << resolved.err;
  ASSERT_TRUE(WriteFileAtomically(folder / "full.yaml", resolved.out).ok());
  const Outcome first = RunMoecast({"run", kFirst});
  const Outcome again = RunMoecast({"run", folder / "full.yaml"});
  EXPECT_EQ(WithoutBuild(first.out), WithoutBuild(again.out)) << again.err;
}

TEST(FirstForecast, SetOverridesAField) {
  const Outcome outcome =
      RunMoecast({"run", kFirst, "--set", "seed=42", "--set", "replications=2", "--set",
                  "workload.stop.requests=150", "--set", "workload.warmup_requests=10"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("42, 2 replications"));
  EXPECT_THAT(outcome.out, HasSubstr("±"));
}

TEST(FirstForecast, ExplainPrintsTheArithmeticOfAStep) {
  const Outcome outcome = RunMoecast({"explain", kFirst, "--batch", "16", "--context", "512"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* word : {"experts", "attention.decode", "gemm.lm_head", "analytic", "total"}) {
    EXPECT_THAT(outcome.out, HasSubstr(word));
  }
}

TEST(Cli, VersionAndHelpAreForNewcomers) {
  EXPECT_THAT(RunMoecast({"--version"}).out, HasSubstr("moecast "));
  const Outcome help = RunMoecast({"run", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--resolve"));
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
}

TEST(Cli, ACaseWithoutAFinishedRequestEndsWithExitCode1) {
  const Outcome outcome = RunMoecast({"run", kFirst, "--set", "workload.stop={horizon_s: 0.001}"});
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("no request finished"));
}

/// Runs an example that needs no data beyond itself.
void RunsAsItStands(const std::string& file) {
  const Outcome outcome = RunMoecast({"run", "scenarios/examples/" + file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("verdict"));
  EXPECT_THAT(outcome.out, HasSubstr("fingerprint"));
}

TEST(FirstForecast, PrintsTheMeasuredQualityOfEveryVariant) {
  const Outcome outcome = RunMoecast({"run", kFirst});
  EXPECT_THAT(outcome.out, HasSubstr("replayed token by token from moecast-reference.moetrace"));
  EXPECT_THAT(outcome.out, HasSubstr("held-out text, all four kinds"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("missing")));
}

TEST(Examples, ReplayCapturedRoutingRuns) { RunsAsItStands("02_replay_captured_routing.yaml"); }
TEST(Examples, SaturationRuns) { RunsAsItStands("04_saturation.yaml"); }
TEST(Examples, TwoReplicasRun) { RunsAsItStands("05_two_replicas.yaml"); }

TEST(Examples, MeasuredKernelsRunMostlyOnMeasurementsAndPrintIntervals) {
  const Outcome outcome = RunMoecast({"run", "scenarios/examples/06_measured_kernels.yaml", "--set",
                                      "replications=1", "--set", "workload.stop.requests=300"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Prediction intervals"));
  EXPECT_THAT(outcome.out, ContainsRegex("[0-9.]+ % measured, [5-9][0-9.]+ % interpolated"));
  EXPECT_THAT(outcome.out, HasSubstr("profile 'h200_sxm'"));
}

// Variants in order: native, top-4, OEA, XShare, LYNX, Alloc-T, EAC-MoE, by load, pruned.
TEST(Examples, RulesOfTheStepReadFewerExpertsWhereTheyPromiseTo) {
  const TemporaryFolder folder;
  const Outcome outcome = RunMoecast({"run", "scenarios/examples/07_rules_of_the_step.yaml",
                                      "--set", "workload.stop.requests=120", "--set",
                                      "workload.warmup_requests=10", "--out", folder / "out"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string csv = ReadFile(folder / "out/table.csv").value();
  const std::vector<double> distinct = Column(csv, "mean_distinct_experts");
  const std::vector<double> kept = Column(csv, "mean_kept_experts");
  ASSERT_EQ(distinct.size(), 18U);
  for (size_t load = 0; load < 2; ++load) {
    const size_t native = 9 * load;
    for (size_t variant = 1; variant < 9; ++variant) {
      EXPECT_LE(distinct[native + variant], distinct[native]) << variant;
      EXPECT_LE(kept[native + variant], kept[native]) << variant;
    }
  }
  EXPECT_LT(distinct[9 + 2], distinct[9 + 1]);  // at 32 in flight OEA reads less than top-4
  EXPECT_GT(kept[9 + 2], 7);                    // and computes nearly as many as native
}

TEST(Trace, TunePrintsASectionThatAScenarioTakes) {
  const std::string trace = "traces/data/moecast-reference.moetrace";
  for (const char* rule : {"list", "tuple", "aset_derived"}) {
    const Outcome tuned = RunMoecast({"trace", "tune", trace, "--mean-k", "4", "--rule", rule});
    ASSERT_EQ(tuned.exit_code, 0) << tuned.err;
    EXPECT_THAT(tuned.out, HasSubstr("a proxy, not a quality"));
    const std::string section = tuned.out.substr(tuned.out.find("\nexperts: ") + 10);
    const Outcome run =
        RunMoecast({"run", "scenarios/examples/02_replay_captured_routing.yaml", "--resolve",
                    "--set", "variants=null", "--set", "experts=" + section});
    EXPECT_EQ(run.exit_code, 0) << run.err;
  }
  const Outcome bad = RunMoecast({"trace", "tune", trace, "--mean-k", "9"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("must be from 1 to the trace's top_k (8), got 9"));
}

/// Imports one of traces/descriptions from the shared data.
void Import(const std::vector<std::string>& arguments, const std::filesystem::path& trace) {
  std::vector<std::string> all{"trace", "import"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  all.insert(all.end(), {"--out", trace.string()});
  const Outcome outcome = RunMoecast(all);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST(Examples, ReplayCapturedRoutingRunsOnRealTraces) {
  const std::filesystem::path data = SharedData();
  if (data.empty()) GTEST_SKIP() << "no ../shared/data beside this checkout";
  const TemporaryFolder folder;
  const std::filesystem::path trace = folder / "law.moetrace";
  const std::string requests =
      (data / "requests/azure_2023/AzureLLMInferenceTrace_conv.csv.zst").string();
  Import({"traces/descriptions/esft_law.yaml", "--data",
          (data / "routing/esft_deepseek_v2_lite").string()},
         trace);
  const Outcome outcome = RunMoecast(
      {"run", "scenarios/examples/02_replay_captured_routing.yaml", "--set",
       "routing.replay.path=" + trace.string(), "--set", "model=DeepSeek-V2-Lite", "--set",
       "cluster.gpu=H200-SXM", "--set",
       "workload={trace: {format: azure_csv, path: '" + requests + "'}, stop: {requests: 2000}}",
       "--set", "variants=[{name: native}, {name: top-4, set: {experts.uniform_top_k.k: 4}}]",
       "--out", (folder / "out").string()});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("replayed token by token from law.moetrace"));
  // The trace holds prompts only: the report must say that output tokens replay prompt rows.
  EXPECT_THAT(outcome.out, HasSubstr("stand in for a phase that the trace does not hold"));
  // Provenance names both inputs by content.
  const std::string scenario = ReadFile(folder / "out/scenario.yaml").value();
  EXPECT_THAT(scenario, ContainsRegex("# input sha256 [0-9a-f]+  law.moetrace"));
  EXPECT_THAT(scenario, ContainsRegex("# input sha256 [0-9a-f]+  AzureLLMInferenceTrace_conv"));
}

TEST(Examples, GptOssDecodeRunsOnItsRealTrace) {
  const std::filesystem::path data = SharedData();
  if (data.empty()) GTEST_SKIP() << "no ../shared/data beside this checkout";
  const TemporaryFolder folder;
  const std::filesystem::path trace = folder / "gpt_oss_20b.moetrace";
  Import({"traces/descriptions/gpt_oss_20b.yaml", "--data", (data / "routing/gptoss20b").string(),
          "--drop", "has_repetition=1"},
         trace);
  const Outcome outcome = RunMoecast({"run", "scenarios/examples/03_gpt_oss_20b_decode.yaml",
                                      "--set", "routing.replay.path=" + trace.string()});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("replayed token by token from gpt_oss_20b.moetrace"));
}

}  // namespace
}  // namespace moecast
