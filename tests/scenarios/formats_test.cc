// Formats of the catalog by closed form, their assignment to tensor classes, and experts of two
// formats in one layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "scenarios/catalog.h"
#include "sim/model/memory.h"
#include "tests/scenarios/study_loading.h"

namespace moecast::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Bits of an element and of what groups of elements share, from the formats' definitions.
const std::map<std::string, double>& ClosedForms() {
  static const std::map<std::string, double> kBits = {{"bf16", 16},
                                                      {"fp16", 16},
                                                      {"fp8", 8},
                                                      {"fp8-block", 8 + 32.0 / (128 * 128)},
                                                      {"mxfp8", 8 + 8.0 / 32},
                                                      {"hif8", 8},
                                                      {"int8", 8},
                                                      {"int4-g128", 4 + (16 + 4.0) / 128},
                                                      {"w3a16-g128", 3 + (16 + 4.0) / 128},
                                                      {"w4a16-g32", 4 + 16.0 / 32},
                                                      {"w4a16-g128", 4 + 16.0 / 128},
                                                      {"w4a8-g128", 4 + (8 + 4.0) / 128},
                                                      {"w4a8-fp8", 4 + 16.0 / 128},
                                                      {"w4a4", 4},
                                                      {"mxfp4", 4 + 8.0 / 32},
                                                      {"mxfp4-native", 4 + 8.0 / 32},
                                                      {"nvfp4", 4 + 8.0 / 16},
                                                      {"hif4", 4 + (8 + 8 + 16.0) / 64}};
  return kBits;
}

TEST(Formats, StoredBitsAreThoseOfTheirDefinitions) {
  Catalog catalog(kCatalog);
  const std::vector<std::string> names = catalog.Names("formats").value();
  EXPECT_EQ(names.size(), ClosedForms().size());
  for (const std::string& name : names) {
    const Scenario scenario = OnlyScenario(kMinimal, {"model.formats.experts=" + name});
    ASSERT_TRUE(ClosedForms().contains(name)) << name;
    EXPECT_DOUBLE_EQ(scenario.model.formats.experts.stored_bits, ClosedForms().at(name)) << name;
  }
}

TEST(Formats, ALayoutThatDoesNotGiveTheStoredBitsIsAnError) {
  EXPECT_THAT(
      ErrorsOf(kMinimal, {"model.formats.experts={name: odd, stored_bits: 5, compute: bf16, "
                          "element_bits: 4, metadata: [{bits: 16, elements: 32}]}"}),
      ElementsAre(HasSubstr("model.formats.experts.stored_bits: must be element_bits and "
                            "metadata together (4.5), got 5")));
}

TEST(Formats, SharedExpertsAndHeadFollowDenseAndEmbeddingsUnlessTheyHaveTheirOwn) {
  const Scenario same =
      OnlyScenario(kMinimal, {"model.formats.dense_ffn=fp8", "model.formats.embeddings=int8"});
  EXPECT_EQ(same.model.formats.of_shared_experts().name, "fp8");
  EXPECT_EQ(same.model.formats.of_lm_head().name, "int8");
  const Scenario own = OnlyScenario(
      kMinimal, {"model.formats.shared_experts=w4a16-g128", "model.formats.lm_head=fp8"});
  EXPECT_EQ(own.model.formats.of_shared_experts().name, "w4a16-g128");
  EXPECT_EQ(own.model.formats.dense_ffn.name, "bf16");
  EXPECT_EQ(own.model.formats.of_lm_head().name, "fp8");
  EXPECT_EQ(own.model.formats.embeddings.name, "bf16");
}

double WeightBytes(const std::vector<std::string>& overrides) {
  const Scenario scenario = OnlyScenario(kMinimal, overrides);
  return WeightBytesPerGpu(scenario.model, {}).count();
}

TEST(Formats, EachTensorClassSavesItsOwnElements) {
  // DeepSeek-V2-Lite: 26 MoE layers of 64 experts and 2 shared ones, one dense layer, hidden 2048.
  const double expert = 3.0 * 2048 * 1408;
  const double table = 102400.0 * 2048;
  const double bf16 = WeightBytes({});
  EXPECT_EQ(bf16 - WeightBytes({"model.formats.experts=int8"}), 26 * 64 * expert);
  EXPECT_EQ(bf16 - WeightBytes({"model.formats.shared_experts=int8"}), 26 * 2 * expert);
  EXPECT_EQ(bf16 - WeightBytes({"model.formats.dense_ffn=int8"}),
            26 * 2 * expert + 3.0 * 2048 * 10944);
  EXPECT_EQ(bf16 - WeightBytes({"model.formats.lm_head=int8"}), table);
  EXPECT_EQ(bf16 - WeightBytes({"model.formats.embeddings=int8"}), 2 * table);
}

TEST(Formats, AMixCostsWhatItsExpertsCost) {
  const double expert = 3.0 * 2048 * 1408;
  const double all = WeightBytes({"model.formats.experts=w4a16-g128"});
  const double three =
      WeightBytes({"model.formats.experts=w4a16-g128", "model.formats.mix.format=bf16",
                   "model.formats.mix.list.experts=[0, 5, 63]"});
  EXPECT_DOUBLE_EQ(three - all, 26 * 3 * expert * (16 - 4.125) / 8);
  const double quarter =
      WeightBytes({"model.formats.experts=w4a16-g128", "model.formats.mix.format=bf16",
                   "model.formats.mix.share.fraction=0.25"});
  EXPECT_DOUBLE_EQ(quarter - all, 26 * 16 * expert * (16 - 4.125) / 8);
}

TEST(Formats, AMixOnSeveralRanksIsThatOfTheFullestOne) {
  const Scenario scenario = OnlyScenario(
      kMinimal, {"model.formats.mix.format=int8", "model.formats.mix.list.experts=[0, 1, 32]"});
  Scenario plain = scenario;
  plain.model.formats.mix.reset();
  const Parallelism two{.tensor = 2, .data = 1, .expert = 2};
  const double expert = 3.0 * 2048 * 1408;
  // Rank 0 owns two of them, rank 1 one: rank 1 keeps more bytes.
  EXPECT_EQ(
      WeightBytesPerGpu(plain.model, two).count() - WeightBytesPerGpu(scenario.model, two).count(),
      26 * 1 * expert);
}

TEST(Formats, AMixNamesExpertsThatExist) {
  EXPECT_THAT(ErrorsOf(kMinimal,
                       {"model.formats.mix.format=bf16", "model.formats.mix.list.experts=[3, 64]"}),
              ElementsAre(HasSubstr("must be below the model's experts (64), got 64")));
  EXPECT_THAT(ErrorsOf(kMinimal,
                       {"model.formats.mix.format=bf16", "model.formats.mix.list.experts=[3, 3]"}),
              ElementsAre(HasSubstr("must ascend without repeats")));
}

TEST(Formats, ShareIsSpreadOverTheIds) {
  const Scenario scenario = OnlyScenario(
      kMinimal, {"model.formats.mix.format=bf16", "model.formats.mix.share.fraction=0.0625"});
  EXPECT_THAT(scenario.model.formats.mix->experts, ElementsAre(0, 16, 32, 48));
}

}  // namespace
}  // namespace moecast::test
