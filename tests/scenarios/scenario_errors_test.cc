// Every way in which a scenario can be wrong, and the sentence a user reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/scenarios/study_loading.h"

namespace moecast::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string Minimal(const std::string& from, const std::string& to) {
  return Replaced(kMinimal, from, to);
}

TEST(ScenarioErrors, MinimalScenarioHasNone) { EXPECT_THAT(ErrorsOf(kMinimal), IsEmpty()); }

TEST(ScenarioErrors, UnknownKeyNamesTheNearestOne) {
  EXPECT_THAT(ErrorsOf(Minimal("  gpu: H200-SXM", "  gpu: H200-SXM\n  replicsa: 2")),
              ElementsAre("s.yaml:5:3: cluster.replicsa: unknown key 'replicsa'; allowed: gpu, "
                          "fabric, replicas, parallelism, router; did you mean 'replicas'?"));
}

TEST(ScenarioErrors, KeyWithoutItsUnitNamesTheOneWith) {
  EXPECT_THAT(ErrorsOf(Minimal("rate_per_s: 2", "rate: 2")),
              ElementsAre("s.yaml:7:26: workload.synthetic.arrivals.poisson.rate: unknown key "
                          "'rate'; allowed: rate_per_s; did you mean 'rate_per_s'?",
                          AllOf(HasSubstr("s.yaml:7:16: "), HasSubstr("rate_per_s: is missing"))));
}

TEST(ScenarioErrors, KeyWithAnotherUnitNamesTheRightOne) {
  const std::string text = std::string(kMinimal) + "slo: {ttft_s: 1}\n";
  EXPECT_THAT(ErrorsOf(text), ElementsAre(HasSubstr("did you mean 'ttft_ms'?")));
}

TEST(ScenarioErrors, UnitInsideTheValueIsNoNumber) {
  const std::string text = std::string(kMinimal) + "slo: {ttft_ms: 200ms}\n";
  EXPECT_THAT(ErrorsOf(text),
              ElementsAre("s.yaml:11:16: slo.ttft_ms: expected a number above 0 and "
                          "at most 1000000000 (ms), got '200ms'"));
}

TEST(ScenarioErrors, DoubledKeyIsReportedAtItsSecondPlace) {
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "seed: 1\nseed: 2\n"),
              ElementsAre("s.yaml:12:1: seed: key 'seed' appears twice"));
}

TEST(ScenarioErrors, TwoArmsOfAChoiceAreRefused) {
  EXPECT_THAT(ErrorsOf(Minimal("{fixed: {tokens: 100}}",
                               "{fixed: {tokens: 100}, uniform: {min_tokens: 1, max_tokens: 2}}")),
              ElementsAre("s.yaml:8:5: workload.synthetic.input: expected exactly one of fixed, "
                          "lognormal, uniform, empirical, got fixed, uniform"));
}

TEST(ScenarioErrors, NoArmOfAChoiceIsRefused) {
  EXPECT_THAT(ErrorsOf(Minimal("{fixed: {tokens: 100}}", "{}")),
              ElementsAre(HasSubstr("expected exactly one of fixed, lognormal, uniform, empirical, "
                                    "got none")));
}

TEST(ScenarioErrors, MisspeltArmNamesTheNearestOne) {
  const std::string text = std::string(kMinimal) + "experts: natvie\n";
  EXPECT_THAT(ErrorsOf(text),
              ElementsAre(AllOf(HasSubstr("got 'natvie'"), HasSubstr("did you mean 'native'?"))));
}

TEST(ScenarioErrors, ValuesOutOfRangeSayTheRange) {
  for (const char* value : {"0", "-1", "1001"}) {
    EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "replications: " + value + "\n"),
                ElementsAre(std::string("s.yaml:11:15: replications: expected a whole number of at "
                                        "least 1 and at most 1000, got '") +
                            value + "'"));
  }
}

TEST(ScenarioErrors, NotANumberIsRefusedInEverySpelling) {
  for (const char* value : {".nan", "nan", "NaN", ".inf", "-.inf", "inf", "1e999", "0x10", "1,5",
                            "1_000", "+1", "\"2\"", "[2]", "{}", "~", ""}) {
    EXPECT_THAT(ErrorsOf(Minimal("rate_per_s: 2", std::string("rate_per_s: ") + value)), SizeIs(1))
        << value;
  }
}

TEST(ScenarioErrors, WholeNumbersAreDecimalAndWhole) {
  for (const char* value : {"1.0", "1e2", "007", "0x7", "9223372036854775808", "true", "'5'"}) {
    EXPECT_THAT(ErrorsOf(Minimal("requests: 50", std::string("requests: ") + value)),
                ElementsAre(HasSubstr("expected a whole number")))
        << value;
  }
}

TEST(ScenarioErrors, YesIsNoBoolean) {
  EXPECT_THAT(ErrorsOf(Minimal("model: DeepSeek-V2-Lite",
                               "model: {from: DeepSeek-V2-Lite, tied_embeddings: yes}")),
              ElementsAre(HasSubstr("model.tied_embeddings: expected true or false, got 'yes'")));
}

TEST(ScenarioErrors, EnumNamesTheNearestValue) {
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "engine: {graph_padding: maksed}\n"),
              ElementsAre("s.yaml:11:25: engine.graph_padding: expected one of masked, routed, got "
                          "'maksed'; did you mean 'masked'?"));
}

TEST(ScenarioErrors, MissingRequiredFieldSaysHowToGiveIt) {
  EXPECT_THAT(
      ErrorsOf(Minimal("name: small\n", "")),
      ElementsAre(AllOf(HasSubstr("s.yaml:1:1: name: is missing"), HasSubstr("--set name=VALUE"))));
}

TEST(ScenarioErrors, MissingFileIsAskedForAsAPath) {
  EXPECT_THAT(ErrorsOf(kMinimal, {"routing={replay: {}}"}),
              ElementsAre(AllOf(HasSubstr("routing.replay.path: is missing"),
                                HasSubstr("the path of a file"))));
}

TEST(ScenarioErrors, UnknownCatalogNameListsTheKnownOnes) {
  EXPECT_THAT(ErrorsOf(Minimal("H200-SXM", "H200-SMX")),
              ElementsAre(AllOf(HasSubstr("s.yaml:4:8: cluster.gpu: 'H200-SMX' is not in the "
                                          "catalog of gpus; known: A100-80G-SXM"),
                                HasSubstr("did you mean 'H200-SXM'?"))));
}

TEST(ScenarioErrors, CatalogNameCannotLeaveTheCatalog) {
  EXPECT_THAT(ErrorsOf(Minimal("H200-SXM", "../models/Qwen3-8B")),
              ElementsAre(HasSubstr("is not in the catalog of gpus")));
}

TEST(ScenarioErrors, AllAreReportedAtOnce) {
  std::string text = Minimal("tokens: 100", "tokens: 0");
  text = Replaced(text, "rate_per_s: 2", "rate_per_s: -2");
  text = Replaced(text, "H200-SXM", "H300");
  EXPECT_THAT(ErrorsOf(text + "colour: red\n"), SizeIs(4));
}

TEST(ScenarioErrors, HostileNumberOfThemIsCut) {
  std::string text = kMinimal;
  for (int i = 0; i < 5000; ++i) text += "unknown" + std::to_string(i) + ": 1\n";
  const std::vector<std::string> errors = ErrorsOf(text);
  EXPECT_THAT(errors, SizeIs(101));
  EXPECT_THAT(errors.back(), HasSubstr("further problems"));
}

TEST(ScenarioErrors, ImpossibleParallelismNamesTheField) {
  EXPECT_THAT(ErrorsOf(Minimal("gpu: H200-SXM",
                               "gpu: H200-SXM\n  fabric: NVLink4\n  parallelism: {tensor: 3}")),
              ElementsAre(HasSubstr("s.yaml:6:25: cluster.parallelism.tensor: 3 does not divide"),
                          HasSubstr("cluster.parallelism.tensor"),
                          HasSubstr("cluster.parallelism.expert")));
}

TEST(ScenarioErrors, SeveralGpusNeedAFabric) {
  EXPECT_THAT(ErrorsOf(Minimal("gpu: H200-SXM", "gpu: H200-SXM\n  parallelism: {tensor: 2}")),
              ElementsAre(HasSubstr("cluster.fabric: is missing, but a replica has 2 GPUs")));
}

TEST(ScenarioErrors, RulesAcrossFields) {
  const auto one = [](const std::string& text, const std::string& expected) {
    EXPECT_THAT(ErrorsOf(text), ElementsAre(HasSubstr(expected)));
  };
  one(Minimal("{requests: 50}", "{}"), "workload.stop: needs requests, horizon_s or both");
  one(Minimal("{requests: 50}", "{requests: 50}\n  warmup_requests: 50"),
      "s.yaml:11:20: workload.warmup_requests: must be below stop.requests (50), got 50");
  one(Minimal("{fixed: {tokens: 10}}", "{uniform: {min_tokens: 9, max_tokens: 5}}"),
      "workload.synthetic.output.uniform.max_tokens: must be at least min_tokens (9), got 5");
  one(std::string(kMinimal) + "experts: {uniform_top_k: {k: 7}}\n",
      "experts.uniform_top_k.k: must be at most the model's top_k (6), got 7");
  one(std::string(kMinimal) + "experts: {layer_schedule: {list: {k_per_moe_layer: [6, 6]}}}\n",
      "must have one entry per MoE layer (26), got 2");
  one(std::string(kMinimal) + "experts: {ratio_to_best: {threshold: [0.1, 0.2]}}\n",
      "experts.ratio_to_best.threshold: must have one entry, or one per MoE layer (26), got 2");
  one(std::string(kMinimal) +
          "experts: {aset_derived: {threshold: [0.5], penalty: 0.5, min_k: 7}}\n",
      "experts.aset_derived.min_k: must be at most the model's top_k (6), got 7");
  one(std::string(kMinimal) + "routing: uniform\nexperts: {top_p: {mass: [0.9]}}\n",
      "experts: needs gate scores, which routing.uniform has not");
  one(std::string(kMinimal) + "engine: {graph_batch_sizes: [4, 2]}\n",
      "engine.graph_batch_sizes: must ascend without repeats");
  one(std::string(kMinimal) + "engine: {max_batch_tokens: 128}\n",
      "engine.max_batch_tokens: must be at least max_sequences (256)");
  one(Minimal("DeepSeek-V2-Lite", "Qwen3-8B") + "experts: {uniform_top_k: {k: 2}}\n",
      "experts: must be native: model 'Qwen3-8B' has no experts");
  one(Minimal("model: DeepSeek-V2-Lite", "model: {from: Qwen3-8B, sliding_window_tokens: 128}"),
      "model.sliding_window_tokens: is given, but no layer is attention: sliding_window");
}

TEST(ScenarioErrors, MissingFileIsNamedWithItsFullPath) {
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "routing: {replay: {path: no/such.trace}}\n"),
              ElementsAre(AllOf(HasSubstr("s.yaml:11:26: routing.replay.path: file '/"),
                                HasSubstr("/no/such.trace' does not exist"))));
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "routing: {replay: {path: /tmp}}\n"),
              ElementsAre(HasSubstr("'/tmp' is not a file")));
}

TEST(ScenarioErrors, MissingScenarioFileIsAnError) {
  const Result<Study> study = LoadStudy("/no/such/scenario.yaml", {}, kCatalog);
  ASSERT_FALSE(study.ok());
  EXPECT_THAT(ToString(study.errors()), HasSubstr("/no/such/scenario.yaml"));
}

TEST(ScenarioErrors, ListOrTextInsteadOfAScenarioIsAnError) {
  EXPECT_THAT(ErrorsOf("[1, 2]"), SizeIs(1));
  EXPECT_THAT(ErrorsOf("hello"), SizeIs(1));
  EXPECT_THAT(ErrorsOf(""), testing::Contains(HasSubstr("name: is missing")));
}

TEST(ScenarioErrors, ThoseOfOneVariantNameIt) {
  const std::string text = std::string(kMinimal) +
                           "variants:\n"
                           "  - {name: good, set: {experts: native}}\n"
                           "  - {name: bad, set: {experts.uniform_top_k.k: 99}}\n";
  EXPECT_THAT(
      ErrorsOf(text),
      ElementsAre("s.yaml:13:48: in variant 'bad': experts.uniform_top_k.k: must be at most "
                  "the model's top_k (6), got 99"));
}

TEST(ScenarioErrors, VariantNamesAreDistinct) {
  EXPECT_THAT(ErrorsOf(std::string(kMinimal) + "variants: [{name: a}, {name: a}]\n"),
              ElementsAre(HasSubstr("variants.1.name: 'a' is used twice")));
}

TEST(ScenarioErrors, UnknownPathInAVariantIsReportedWhereItIsWritten) {
  EXPECT_THAT(
      ErrorsOf(std::string(kMinimal) + "loads: [{name: a, set: {workload.stopp.requests: 1}}]\n"),
      ElementsAre(AllOf(HasSubstr("s.yaml:11:25: "), HasSubstr("unknown key 'stopp'"),
                        HasSubstr("did you mean 'stop'?"))));
}

}  // namespace
}  // namespace moecast::test
