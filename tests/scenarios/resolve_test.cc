// A resolved scenario is complete and a fixed point: it loads again, to the same cases and text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "sim/base/files.h"
#include "tests/scenarios/study_loading.h"
#include "tests/support/temporary_folder.h"

namespace moecast::test {
namespace {

using ::testing::HasSubstr;

// Cases have no operator==; their resolved texts are compared, and the figures that units convert.
void ExpectFixedPoint(const Study& study) {
  const std::filesystem::path empty_catalog = std::filesystem::path(MOECAST_SOURCE) / "docs";
  const Result<Study> again = ParseStudy(study.resolved_yaml, "r.yaml", {}, empty_catalog);
  ASSERT_TRUE(again.ok()) << ToString(again.errors()) << study.resolved_yaml;
  EXPECT_EQ(again->resolved_yaml, study.resolved_yaml);
  EXPECT_EQ(again->name, study.name);
  ASSERT_EQ(again->cases.size(), study.cases.size());
  for (size_t i = 0; i < study.cases.size(); ++i) {
    const StudyCase& a = study.cases[i];
    const StudyCase& b = again->cases[i];
    EXPECT_EQ(a.variant, b.variant);
    EXPECT_EQ(a.load, b.load);
    EXPECT_EQ(a.scenario.model.name, b.scenario.model.name);
    EXPECT_EQ(a.scenario.model.layers, b.scenario.model.layers);
    EXPECT_EQ(a.scenario.model.formats.experts.stored_bits,
              b.scenario.model.formats.experts.stored_bits);
    EXPECT_EQ(a.scenario.kv, b.scenario.kv);
    EXPECT_EQ(a.scenario.device.hbm_bandwidth, b.scenario.device.hbm_bandwidth);
    EXPECT_EQ(a.scenario.parallelism, b.scenario.parallelism);
    EXPECT_EQ(a.scenario.workload.index(), b.scenario.workload.index());
    EXPECT_TRUE(a.scenario.experts == b.scenario.experts);
    EXPECT_EQ(a.scenario.routing.index(), b.scenario.routing.index());
    EXPECT_EQ(a.scenario.router.index(), b.scenario.router.index());
    EXPECT_EQ(a.scenario.stop.requests, b.scenario.stop.requests);
  }
}

std::vector<std::filesystem::path> ExampleFiles() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(kExamples))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class Examples : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(Examples, LoadAndResolveToAFixedPoint) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "stand_in", "not read here").ok());
  const std::string stand_in = (folder / "stand_in").string();
  std::vector<std::string> overrides;
  const std::string name = GetParam().filename().string();
  if (name.starts_with("03")) overrides.push_back("routing.replay.path=" + stand_in);
  const Result<Study> study = LoadStudy(GetParam(), overrides, kCatalog);
  ASSERT_TRUE(study.ok()) << ToString(study.errors());
  const Scenario& first = study->cases.front().scenario;
  const bool replays = std::holds_alternative<ReplayRouting>(first.routing);
  const bool profiled = first.profile != nullptr;
  EXPECT_EQ(study->inputs.size(), (replays ? 1u : 0u) + (profiled ? 1u : 0u));
  ExpectFixedPoint(*study);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Examples, ::testing::ValuesIn(ExampleFiles()),
                         [](const auto& tested) { return tested.param.stem().string(); });

TEST(Resolve, PathsThatOnlyTheUserKnowsAreAskedFor) {
  const Result<Study> study = LoadStudy(kExamples / "03_gpt_oss_20b_decode.yaml", {}, kCatalog);
  ASSERT_FALSE(study.ok());
  EXPECT_THAT(ToString(study.errors()), HasSubstr("--set routing.replay.path=VALUE"));
  const std::vector<std::string> replayed = {"workload={trace: {format: azure_csv}}"};
  const Result<Study> traffic =
      LoadStudy(kExamples / "02_replay_captured_routing.yaml", replayed, kCatalog);
  ASSERT_FALSE(traffic.ok());
  EXPECT_THAT(ToString(traffic.errors()), HasSubstr("--set workload.trace.path=VALUE"));
}

TEST(Resolve, SpellsOutEveryDefault) {
  const Result<Study> study = Parse(kMinimal);
  ASSERT_TRUE(study.ok());
  for (const char* line : {"seed: 1\n", "max_batch_tokens: 8192", "round_robin: {}", "native: {}",
                           "stored_bits: 16", "name: analytic-default", "popularity_spread:",
                           "memory_bandwidth_gb_per_s: 4800", "warmup_requests: 0"}) {
    EXPECT_THAT(study->resolved_yaml, HasSubstr(line));
  }
  ExpectFixedPoint(*study);
}

TEST(Resolve, VariantsNameNoCatalogEntryAnyMore) {
  const std::string text =
      std::string(kMinimal) +
      "variants:\n"
      "  - name: a\n"
      "    set: {model: Qwen3-8B, kv.scheme: fp8_e4m3, cluster.router: least_kv}\n"
      "  - name: b\n"
      "    set: {model: {from: Qwen3-30B-A3B, formats: {experts: fp8}}}\n"
      "  - name: c\n"
      "    set: {workload.stop.requests: 60, workload.stop.horizon_s: 5}\n"
      "  - name: d\n"
      "    set: {\"engine.graph_batch_sizes[0]\": 1, slo: null}\n";
  const Result<Study> study = Parse(text);
  ASSERT_TRUE(study.ok()) << ToString(study.errors());
  EXPECT_EQ(study->cases[1].scenario.model.formats.experts.name, "fp8");
  EXPECT_FALSE(study->cases[0].scenario.model.moe.has_value());
  ExpectFixedPoint(*study);
}

TEST(Resolve, FilesAreAbsoluteHashedAndRelativeToWhereTheyAreWritten) {
  const TemporaryFolder folder;
  ASSERT_TRUE(
      WriteFileAtomically(folder / "lengths.csv", "input_tokens,output_tokens\n1,1\n").ok());
  std::string text = kMinimal;
  text.replace(text.find("{fixed: {tokens: 100}}"), 22, "{empirical: {csv: ./lengths.csv}}");
  const Result<Study> study = ParseStudy(text, folder / "s.yaml", {}, kCatalog);
  ASSERT_TRUE(study.ok()) << ToString(study.errors());
  ASSERT_EQ(study->inputs.size(), 1u);
  EXPECT_EQ(study->inputs[0].path, folder / "lengths.csv");
  EXPECT_EQ(study->inputs[0].sha256, Sha256("input_tokens,output_tokens\n1,1\n"));
  ExpectFixedPoint(*study);
  EXPECT_FALSE(ParseStudy(text, "elsewhere/s.yaml", {}, kCatalog).ok());
}

TEST(Resolve, JsonIsAScenarioToo) {
  const Scenario scenario = OnlyScenario(
      R"({"name": "j", "model": "DeepSeek-V2-Lite", "cluster": {"gpu": "H200-SXM"},
          "workload": {"synthetic": {"arrivals": {"poisson": {"rate_per_s": 2}},
          "input": {"fixed": {"tokens": 100}}, "output": {"fixed": {"tokens": 10}}},
          "stop": {"requests": 50}}})");
  EXPECT_EQ(scenario.name, "j");
}

}  // namespace
}  // namespace moecast::test
