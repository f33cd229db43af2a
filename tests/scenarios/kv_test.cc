// The `kv` policy: what can be written, what it becomes, and what a user reads when it is wrong.
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

constexpr const char* kLlama = "model=Llama-3.1-8B";

KvPlan PlanOf(const std::string& kv, const std::string& model = kLlama) {
  const Result<Study> study = Parse(std::string(kMinimal) + "kv: " + kv + "\n", {model});
  EXPECT_TRUE(study.ok()) << ToString(study.errors());
  const Scenario& scenario = study->cases.front().scenario;
  return PlanKv(scenario.kv, scenario.model);
}

KvBits BitsOfText(const std::string& kv) {
  const KvPlan plan = PlanOf(kv);
  return BitsOf(plan.stores.front(), {.keys = 1024, .values = 1024});
}

std::vector<std::string> Errors(const std::string& kv, const std::string& model = kLlama) {
  return ErrorsOf(std::string(kMinimal) + "kv: " + kv + "\n", {model});
}

TEST(Kv, IsBf16WhenNothingIsSaid) {
  const Result<Study> study = Parse(kMinimal, {});
  ASSERT_TRUE(study.ok());
  const Scenario& scenario = study->cases.front().scenario;
  EXPECT_EQ(DescribeKv(PlanKv(scenario.kv, scenario.model)), "bf16");
}

TEST(Kv, EverySchemeOfTheCatalogLoadsForWhatItKeeps) {
  for (const std::string name : {"bf16", "fp8_e4m3", "fp8_e5m2", "int8", "int4", "nvfp4", "kivi4",
                                 "kivi2", "saw_int4", "oscar_int2"}) {
    EXPECT_EQ(PlanOf("{scheme: " + name + "}").stores.front().name, name);
  }
  for (const std::string name : {"bf16", "mla_bf16", "mla_fp8", "mla_int4", "mla_int2"}) {
    EXPECT_EQ(PlanOf("{scheme: " + name + "}", "model=DeepSeek-V2-Lite").stores.front().name, name);
  }
}

TEST(Kv, StoredBitsOfTheCatalogAreTheStatedOnes) {
  EXPECT_EQ(BitsOfText("{scheme: int8}").stored, 8.25);
  EXPECT_EQ(BitsOfText("{scheme: int4}").stored, 4.25);
  EXPECT_EQ(BitsOfText("{scheme: nvfp4}").stored, 4.5);
  EXPECT_EQ(BitsOfText("{scheme: kivi4}").stored, 5);
  EXPECT_EQ(BitsOfText("{scheme: kivi2}").stored, 3);
  EXPECT_EQ(BitsOfText("{scheme: oscar_int2}").stored, 2.25);
  EXPECT_EQ(BitsOfText("{xquant: {kq: 32, vq: 0, km: 32, vm: 16}}").stored, 2.375);
  EXPECT_EQ(BitsOfText("{asymkv: {key_layers: 32, value_layers: 0}}").equivalent, 1.5);
}

TEST(Kv, FieldsOfAnEntryCanBeChanged) {
  EXPECT_EQ(BitsOfText("{scheme: {from: kivi2, key: {group: 128}, value: {group: 128}}}").stored,
            2.25);
}

TEST(Kv, PoliciesSayWhatTheyDo) {
  EXPECT_EQ(DescribeKv(PlanOf("{by_layer: {runs: [{layers: 4, scheme: bf16}, {layers: 28, scheme: "
                              "fp8_e4m3}]}}")),
            "4 x bf16 + 28 x fp8_e4m3");
  EXPECT_EQ(DescribeKv(PlanOf("{by_age: {bands: [{newest_tokens: 256, scheme: bf16}], oldest: "
                              "int4}}")),
            "bf16 < 256 < int4");
  EXPECT_EQ(DescribeKv(PlanOf("{under_pressure: {above: 0.8, who: oldest, pressed: kivi2}}")),
            "bf16, above 0.80 kivi2 for the oldest sequences");
  EXPECT_EQ(DescribeKv(PlanOf("{token_budget: {tokens: 1024}}")), "bf16, 1024 tokens attended to");
  EXPECT_EQ(DescribeKv(PlanOf("{sliding_eviction: {window_tokens: 2044}}")),
            "bf16, 2048 tokens kept");
}

TEST(KvErrors, SchemesMustSuitWhatTheModelCaches) {
  EXPECT_THAT(Errors("{scheme: kivi2}", "model=DeepSeek-V2-Lite"),
              ::testing::Contains(HasSubstr("kv.scheme: 'kivi2' cannot keep what "
                                            "'DeepSeek-V2-Lite' caches, a latent")));
  EXPECT_THAT(Errors("{scheme: mla_int4}"),
              ::testing::Contains(HasSubstr("mla schemes are for latents")));
}

TEST(KvErrors, MisspelledSchemeNamesTheNearest) {
  EXPECT_THAT(Errors("{scheme: kiwi2}"), ElementsAre(HasSubstr("did you mean 'kivi2'?")));
}

TEST(KvErrors, SchemesWithBitsByLayerStandInTheirPolicyOnly) {
  EXPECT_THAT(Errors("{scheme: xquant}"),
              ElementsAre(HasSubstr("'xquant' has other bits in every layer: write kv: {xquant: "
                                    "{...}} with its parameters")));
}

TEST(KvErrors, WidthsAndGroupsAreChecked) {
  EXPECT_THAT(Errors("{scheme: {from: int4, key: {bits: 3}}}"),
              ElementsAre(HasSubstr("kv.scheme.key.bits: must be 16, 8, 4, 2 or 1, got 3")));
  EXPECT_THAT(Errors("{scheme: {from: int4, key: {group: 96}}}"),
              ElementsAre(AllOf(HasSubstr("kv.scheme.key.group: must divide 128 channels"),
                                HasSubstr("got 96"))));
  EXPECT_THAT(Errors("{scheme: {from: kivi2, key: {flush_tokens: 48}}}"),
              ::testing::Contains(HasSubstr("must be a power of two, got 48")));
}

TEST(KvErrors, LayersAreThoseOfTheModel) {
  EXPECT_THAT(Errors("{asymkv: {key_layers: 33, value_layers: 0}}"),
              ElementsAre(HasSubstr("must be at most the layers that cache keys and values (32), "
                                    "got 33")));
  EXPECT_THAT(Errors("{by_layer: {runs: [{layers: 4, scheme: bf16}]}}"),
              ElementsAre(HasSubstr("must have as many layers as cache keys and values (32), got "
                                    "4")));
  EXPECT_THAT(Errors("{xquant: {kq: 32, vq: 17, km: 32, vm: 0}}"),
              ElementsAre(HasSubstr("kv.xquant.vq: must be even where values are shared")));
}

TEST(KvErrors, AgesMustGrowAndBitsMustNot) {
  EXPECT_THAT(Errors("{by_age: {bands: [{newest_tokens: 64, scheme: fp8_e4m3}, {newest_tokens: 32, "
                     "scheme: int4}], oldest: int4}}"),
              ElementsAre(HasSubstr("must exceed the younger band's 64")));
  EXPECT_THAT(Errors("{by_age: {bands: [{newest_tokens: 64, scheme: int4}], oldest: bf16}}"),
              ElementsAre(HasSubstr("bits must not grow with age")));
  EXPECT_THAT(Errors("{by_age: {bands: [{newest_tokens: 64, scheme: bf16}], oldest: kivi2}}"),
              ElementsAre(HasSubstr("'kivi2' keeps a window of its own")));
}

}  // namespace
}  // namespace moecast::test
