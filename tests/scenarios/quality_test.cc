// What a case learns about its policy's quality, and what it must not be told.
#include "scenarios/quality.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "scenarios/catalog.h"
#include "tests/scenarios/study_loading.h"
#include "tests/support/temporary_folder.h"

namespace moecast::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<QualityFinding> QualityOf(const std::string& more,
                                      const std::vector<std::string>& overrides = {}) {
  const Result<Study> study = Parse(kMinimal + more, overrides);
  if (!study.ok()) {
    ADD_FAILURE() << ToString(study.errors());
    return {};
  }
  return study->cases.front().quality;
}

TEST(Quality, ACaseHasTheFindingsOfItsPolicyBesideTheUnchangedModels) {
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 4}}\n"),
              ElementsAre(AllOf(Field(&QualityFinding::value, 65.2),
                                Field(&QualityFinding::native_value, 66.0),
                                Field(&QualityFinding::standard_error, 0.2),
                                Field(&QualityFinding::source, HasSubstr("Yang25")))));
}

TEST(Quality, RulesThatKeepTheSameExpertsShareTheirFindings) {
  const auto native = QualityOf("");
  ASSERT_THAT(native, Not(IsEmpty()));
  EXPECT_EQ(QualityOf("experts: {uniform_top_k: {k: 6}}\n").front().value, native.front().value);
  EXPECT_EQ(
      QualityOf("experts: {layer_schedule: {tuple: {b: 4, h: 4, e: 4, p: 3}}}\n").front().value,
      65.2);
}

TEST(Quality, APolicyNobodyMeasuredHasNone) {
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 5}}\n"), IsEmpty());
  EXPECT_THAT(QualityOf("experts: {top_p: {mass: [0.9]}}\n"), IsEmpty());
}

TEST(Quality, AJointPolicyIsNotMadeOfItsParts) {
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 4}}\n", {"kv={scheme: mla_fp8}"}), IsEmpty());
}

TEST(Quality, OtherWeightsOrAnotherStructureHaveNone) {
  EXPECT_THAT(QualityOf("", {"model.formats.experts=fp8"}), IsEmpty());
  EXPECT_THAT(QualityOf("", {"change={name: cut, removed_layers: [3]}"}), IsEmpty());
  EXPECT_THAT(QualityOf("pruning: {experts: 32}\n"), IsEmpty());
}

TEST(Quality, CacheSchemesHaveTheFindingsOfExactlyTheirParameters) {
  const auto kivi = QualityOf("", {"model=LongChat-7B-v1.5-32k", "kv={scheme: kivi2}"});
  EXPECT_THAT(kivi, ElementsAre(AllOf(Field(&QualityFinding::value, 38.3),
                                      Field(&QualityFinding::native_value, 38.72),
                                      Field(&QualityFinding::kv, "kivi2"),
                                      Field(&QualityFinding::family, TaskFamily::kLongContext))));
  EXPECT_THAT(QualityOf("", {"model=LongChat-7B-v1.5-32k",
                             "kv={scheme: {from: kivi2, value: {recent_tokens: 32}}}"}),
              IsEmpty());
}

TEST(Quality, ParametersOfAKvPolicyTellItsFindingsApart) {
  const auto value = [](const std::string& layers) {
    const auto found = QualityOf("", {"model=Llama-2-7B", "kv={asymkv: {" + layers + "}}"});
    return found.size() == 1 ? found.front().value : 0;
  };
  EXPECT_EQ(value("key_layers: 16, value_layers: 0"), 58.12);
  EXPECT_EQ(value("key_layers: 0, value_layers: 16"), 34.18);
  EXPECT_EQ(value("key_layers: 8, value_layers: 0"), 0);
}

TEST(Quality, AJointPolicyThatWasMeasuredIsFound) {
  const std::vector<std::string> run{
      "model=moecast-reference",
      "kv={scheme: {from: kivi2, key: {flush_tokens: 32}, value: {recent_tokens: 32}}}"};
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 4}}\n", run),
              Contains(AllOf(Field(&QualityFinding::task, "held-out text, all four kinds"),
                             Field(&QualityFinding::value, 6.9020),
                             Field(&QualityFinding::native_value, 5.7674))));
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 5}}\n", run), IsEmpty());
}

TEST(Quality, BatchRulesHaveTheirOwn) {
  const std::vector<std::string> model{"model=Qwen3-30B-A3B"};
  EXPECT_THAT(QualityOf("experts: {oea: {base_k: 3}}\n", model),
              Contains(AllOf(Field(&QualityFinding::task, "LiveCodeBench"),
                             Field(&QualityFinding::value, 61.2),
                             Field(&QualityFinding::standard_error, 0.94))));
}

TEST(Quality, AChangedModelHasNone) {
  EXPECT_THAT(QualityOf("", {"model={from: DeepSeek-V2-Lite, max_positions: 1000}"}), IsEmpty());
}

TEST(Quality, EveryFileOfTheCatalogReads) {
  Catalog catalog(kCatalog);
  const std::vector<std::string> models = catalog.Names("quality").value();
  for (const std::string& model : models) {
    EXPECT_THAT(ErrorsOf("name: q\nmodel: " + model + R"(
cluster: {gpu: H200-SXM, fabric: NVLink4}
workload:
  synthetic:
    arrivals: {poisson: {rate_per_s: 2}}
    input: {fixed: {tokens: 100}}
    output: {fixed: {tokens: 10}}
  stop: {requests: 50}
)"),
                IsEmpty());
  }
}

struct Published {
  const char* model;
  const char* policy;
  const char* task;
  double value;
};

/// Figures read a second time, from the text rather than from the tables.
TEST(Quality, SpotChecksAgainstTheTextsRead) {
  const std::vector<Published> checks{
      {"DeepSeek-V3", "experts={uniform_top_k: {k: 4}}", "mean of", 70.6},
      {"DeepSeek-V2-Lite", "experts={layer_schedule: {tuple: {b: 6, h: 4, e: 2, p: 6}}}", "mean of",
       65.2},
      {"Qwen3-235B-A22B", "experts={uniform_top_k: {k: 5}}", "LiveCodeBench", 53.5},
      {"Qwen3-235B-A22B", "experts={uniform_top_k: {k: 4}}", "GPQA", 56.4},
      {"Mistral-7B-Instruct-v0.2", "kv={scheme: kivi2}", "15 LongBench", 42.43},
      {"Mistral-7B-Instruct-v0.2", "kv={scheme: kivi4}", "15 LongBench", 43.53},
      {"Qwen3-8B", "kv={scheme: oscar_int2}", "mean of GPQA", 69.42},
      {"Qwen3-32B", "kv={scheme: oscar_int2}", "mean of GPQA", 74.17},
      {"Qwen3-4B-Thinking-2507", "kv={scheme: int4}", "GPQA", 0},
      {"Qwen3-4B-Thinking-2507", "kv={scheme: saw_int4}", "GPQA", 65.82},
      {"Llama-2-7B", "kv={asymkv: {key_layers: 16, value_layers: 0}}", "CoQA", 58.12}};
  for (const Published& check : checks) {
    const auto found = QualityOf(
        "", {std::string("model=") + check.model, "cluster.gpu.memory_gib=10000", check.policy});
    EXPECT_THAT(found, Contains(AllOf(Field(&QualityFinding::task, HasSubstr(check.task)),
                                      Field(&QualityFinding::value, check.value))))
        << check.model << " " << check.policy;
  }
}

TEST(Quality, NoFindingIsTruthfulQaBleu) {
  for (const auto& entry : std::filesystem::directory_iterator(kCatalog / "quality")) {
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_THAT(text, Not(HasSubstr("TruthfulQA"))) << entry.path();
  }
}

TEST(Quality, AMistakeInTheCatalogIsReportedAtItsPlace) {
  const TemporaryFolder folder;
  const std::filesystem::path catalog = folder / "catalog";
  std::filesystem::copy(kCatalog, catalog, std::filesystem::copy_options::recursive);
  std::ofstream(catalog / "quality" / "DeepSeek-V2-Lite.yaml") << R"(name: DeepSeek-V2-Lite
findings:
  - experts: {uniform_top_k: {k: 9}}
    family: perplexity
    task: text
    value: 3
    unit: nats
    source: here
)";
  const Result<Study> study = ParseStudy(kMinimal, "s.yaml", {}, catalog);
  ASSERT_FALSE(study.ok());
  EXPECT_THAT(ToString(study.errors()),
              AllOf(HasSubstr("DeepSeek-V2-Lite.yaml:3:34"),
                    HasSubstr("experts.uniform_top_k.k: must be at most the model's top_k (6)")));
}

}  // namespace
}  // namespace moecast::test
