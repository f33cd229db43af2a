#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "tests/scenarios/study_loading.h"

namespace moecast::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

TEST(Overrides, ReplaceAScalar) {
  EXPECT_EQ(OnlyScenario(kMinimal, {"workload.stop.requests=7"}).stop.requests, 7u);
}

TEST(Overrides, NameAnEntryOfTheCatalogByAFileOfItsOwn) {
  const std::string file = (kCatalog / "gpus" / "H100-SXM.yaml").string();
  EXPECT_EQ(OnlyScenario(kMinimal, {"cluster.gpu=" + file}).device.name, "H100-SXM");
  const double changed =
      OnlyScenario(kMinimal, {"cluster.gpu={from: " + file + ", memory_gib: 40}"})
          .device.hbm_capacity.count();
  EXPECT_EQ(changed, 40.0 * 1024 * 1024 * 1024);
  EXPECT_THAT(ErrorsOf(kMinimal, {"cluster.gpu=no/such.yaml"}),
              ElementsAre(HasSubstr("no/such.yaml")));
}

TEST(Overrides, SequenceBudgetAlsoReservesLinearAttentionState) {
  const Scenario scenario = OnlyScenario(kMinimal, {"engine.max_sequences=48"});
  EXPECT_EQ(scenario.engine.max_sequences, 48);
  EXPECT_EQ(scenario.memory.state_sequences, 48);
}

TEST(Overrides, LaterOnesWin) { EXPECT_EQ(OnlyScenario(kMinimal, {"seed=3", "seed=4"}).seed, 4u); }

TEST(Overrides, CreateWhatTheFileLeavesOut) {
  const Scenario scenario = OnlyScenario(kMinimal, {"slo.ttft_ms=250"});
  EXPECT_EQ(scenario.slo.ttft, Duration(250'000'000));
  EXPECT_FALSE(scenario.slo.tpot.has_value());
}

TEST(Overrides, AnotherArmReplacesTheChoice) {
  const Scenario scenario =
      OnlyScenario(kMinimal, {"workload.synthetic.arrivals.closed_loop.concurrency=4"});
  const auto& arrivals = std::get<SyntheticWorkload>(scenario.workload).arrivals;
  ASSERT_TRUE(std::holds_alternative<ClosedLoop>(arrivals));
  EXPECT_EQ(std::get<ClosedLoop>(arrivals).concurrency, 4);
}

TEST(Overrides, MappingIsMergedAndKeepsItsSiblings) {
  const Scenario scenario = OnlyScenario(kMinimal, {"workload={warmup_requests: 5}"});
  EXPECT_EQ(scenario.warmup_requests, 5u);
  EXPECT_EQ(scenario.stop.requests, 50u);
}

TEST(Overrides, CatalogEntryCanBeChangedBelowItsName) {
  const Scenario scenario =
      OnlyScenario(kMinimal, {"model.formats.experts=fp8", "cluster.gpu.memory_gib=96"});
  EXPECT_EQ(scenario.model.name, "DeepSeek-V2-Lite");
  EXPECT_EQ(scenario.model.formats.experts.name, "fp8");
  EXPECT_EQ(scenario.model.formats.attention.name, "bf16");
  EXPECT_EQ(scenario.device.hbm_capacity, Bytes(96.0 * 1024 * 1024 * 1024));
}

TEST(Overrides, DefaultOfAnAbsentFieldIsChangedNotReplaced) {
  const Scenario before = OnlyScenario(kMinimal);
  const Scenario after = OnlyScenario(kMinimal, {"cost.efficiencies.gemm.memory=0.5"});
  EXPECT_DOUBLE_EQ(after.efficiencies.gemm.memory, 0.5);
  EXPECT_EQ(after.efficiencies.gemm.compute, before.efficiencies.gemm.compute);
  EXPECT_EQ(after.efficiencies.experts.memory, before.efficiencies.experts.memory);
}

TEST(Overrides, ChangedCatalogFieldNamesWhoChangedIt) {
  const Result<Study> study = Parse(kMinimal, {"cluster.gpu.memory_gib=96"});
  ASSERT_TRUE(study.ok());
  EXPECT_THAT(study->resolved_yaml,
              HasSubstr("memory_gib: \"changed by --set cluster.gpu.memory_gib\""));
  EXPECT_THAT(study->resolved_yaml, Not(HasSubstr("datasheet 141 GB")));
}

TEST(Overrides, NameReplacesAnInlineEntry) {
  const Scenario scenario = OnlyScenario(kMinimal, {"model=Qwen3-8B"});
  EXPECT_EQ(scenario.model.name, "Qwen3-8B");
  EXPECT_FALSE(scenario.model.moe.has_value());
}

TEST(Overrides, ListItemsAreReachedByIndex) {
  const std::string text = std::string(kMinimal) + "engine: {graph_batch_sizes: [1, 2, 4]}\n";
  const std::vector<int64_t> expected{1, 3, 4};
  EXPECT_EQ(OnlyScenario(text, {"engine.graph_batch_sizes[1]=3"}).engine.graph_batch_sizes,
            expected);
  EXPECT_EQ(OnlyScenario(text, {"engine.graph_batch_sizes.1=3"}).engine.graph_batch_sizes,
            expected);
  EXPECT_EQ(OnlyScenario(kMinimal, {"model.layers[1].repeat=3"}).model.layer_count(), 4);
}

TEST(Overrides, IndexPastTheEndIsAnError) {
  EXPECT_THAT(
      ErrorsOf(kMinimal, {"model.layers[5].repeat=3"}),
      ElementsAre(HasSubstr("--set model.layers[5].repeat: model.layers.5: there is no item "
                            "5; the list has 2, counted from 0")));
}

TEST(Overrides, NullRemovesAField) {
  const std::string text = std::string(kMinimal) + "slo: {ttft_ms: 1, tpot_ms: 1}\n";
  const Scenario scenario = OnlyScenario(text, {"slo.ttft_ms=null"});
  EXPECT_FALSE(scenario.slo.ttft.has_value());
  EXPECT_TRUE(scenario.slo.tpot.has_value());
}

TEST(Overrides, ListsAreReplacedWhole) {
  EXPECT_TRUE(
      OnlyScenario(kMinimal, {"engine.graph_batch_sizes=[]"}).engine.graph_batch_sizes.empty());
}

TEST(Overrides, ErrorsNameTheFlag) {
  EXPECT_THAT(ErrorsOf(kMinimal, {"workload.stop.requests=many"}),
              ElementsAre(AllOf(HasSubstr("--set workload.stop.requests: "
                                          "expected a whole number"),
                                HasSubstr("got 'many'"))));
  EXPECT_THAT(ErrorsOf(kMinimal, {"workload.stopp.requests=1"}),
              ElementsAre(AllOf(HasSubstr("--set workload.stopp.requests: "),
                                HasSubstr("did you mean 'stop'?"))));
  EXPECT_THAT(ErrorsOf(kMinimal, {"seed"}),
              ElementsAre(HasSubstr("--set seed: expected path=value")));
  EXPECT_THAT(ErrorsOf(kMinimal, {"seed=[1"}),
              ElementsAre(HasSubstr("--set seed: not valid YAML")));
  EXPECT_THAT(ErrorsOf(kMinimal, {"seed.deep=1"}),
              ElementsAre(HasSubstr("seed: expected a whole number of at least 0, got a mapping")));
}

TEST(Overrides, PathOfAbsurdDepthIsAnUnknownKey) {
  std::string path = "a";
  for (int i = 0; i < 100'000; ++i) path += ".a";
  EXPECT_THAT(ErrorsOf(kMinimal, {path + "=1"}), ElementsAre(HasSubstr("unknown key")));
}

TEST(Variants, ExpandLoadMajorWithTheirOverrides) {
  const std::string text =
      std::string(kMinimal) +
      "variants:\n"
      "  - {name: six}\n"
      "  - {name: two, set: {experts.uniform_top_k.k: 2}}\n"
      "loads:\n"
      "  - {name: low, set: {workload.synthetic.arrivals.poisson.rate_per_s: 1}}\n"
      "  - {name: high, set: {workload: {synthetic: {arrivals: {poisson: {rate_per_s: 9}}}}}}\n";
  const Result<Study> study = Parse(text);
  ASSERT_TRUE(study.ok()) << ToString(study.errors());
  std::vector<std::string> order;
  for (const StudyCase& each : study->cases) order.push_back(each.load + "/" + each.variant);
  EXPECT_THAT(order, ElementsAre("low/six", "low/two", "high/six", "high/two"));
  const Scenario& last = study->cases.back().scenario;
  EXPECT_EQ(std::get<UniformTopK>(*last.experts.token_rule()).k, 2);
  const auto& workload = std::get<SyntheticWorkload>(last.workload);
  EXPECT_EQ(std::get<PoissonArrivals>(workload.arrivals).rate_per_s, 9);
}

TEST(Variants, CommandLineChangesTheBaseNotTheVariant) {
  const std::string text = std::string(kMinimal) + "variants: [{name: a, set: {seed: 5}}]\n";
  const Result<Study> study = Parse(text, {"seed=9", "replications=3"});
  ASSERT_TRUE(study.ok());
  EXPECT_EQ(study->cases[0].scenario.seed, 5u);
  EXPECT_EQ(study->cases[0].scenario.replications, 3);
}

TEST(Variants, OneCaseWithoutThem) {
  const Result<Study> study = Parse(kMinimal);
  ASSERT_TRUE(study.ok());
  ASSERT_THAT(study->cases, SizeIs(1));
  EXPECT_EQ(study->cases[0].variant, "base");
  EXPECT_EQ(study->cases[0].load, "");
}

TEST(Variants, MayBeRemovedOnTheCommandLine) {
  const std::string text = std::string(kMinimal) + "variants: [{name: a}, {name: b}]\n";
  const Result<Study> study = Parse(text, {"variants=[]"});
  ASSERT_TRUE(study.ok());
  EXPECT_THAT(study->cases, SizeIs(1));
}

TEST(Variants, TooManyCasesAreRefusedBeforeTheyAreBuilt) {
  std::string list = "[";
  for (int i = 0; i < 100; ++i) list += "{name: n" + std::to_string(i) + "},";
  list += "]";
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "variants: " + list + "\nloads: " + list + "\n"),
              ElementsAre(HasSubstr("100 variants at 100 loads; at most 4096")));
}

}  // namespace
}  // namespace moecast::test
