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
  EXPECT_THAT(QualityOf("experts: {uniform_top_k: {k: 4}}\n", {"engine.kv_format=fp8"}), IsEmpty());
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
