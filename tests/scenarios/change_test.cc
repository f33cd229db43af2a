// Model variants: parameters, multiply-adds and shapes in closed form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/model/memory.h"
#include "tests/scenarios/study_loading.h"

namespace moecast::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelSpec Changed(const std::string& model, const std::vector<std::string>& changes) {
  std::vector<std::string> overrides{"model=" + model, "cluster.gpu.memory_gib=10000"};
  if (!changes.empty()) overrides.emplace_back("change.name=test");
  for (const std::string& change : changes) overrides.push_back("change." + change);
  return OnlyScenario(kMinimal, overrides).model;
}

/// Multiply-adds of one token: every active weight but the embedding table, which is looked up.
double MultiplyAdds(const ModelSpec& model) {
  return CountParameters(model).active -
         static_cast<double>(model.vocabulary) * static_cast<double>(model.hidden);
}

// Qwen3-8B: 36 layers, hidden 4096, 32 heads over 8 of 128, intermediate 12288.
constexpr double kAttention = 4096.0 * (32 + 2 * 8 + 32) * 128;
constexpr double kDense = 3.0 * 4096 * 12288;

TEST(Change, RemovedLayersTakeTheirWeightsAndCacheAlong) {
  const ModelSpec whole = Changed("Qwen3-8B", {});
  const ModelSpec cut = Changed("Qwen3-8B", {"removed_layers=[20, 21, 22, 30]"});
  EXPECT_EQ(cut.layer_count(), 32);
  EXPECT_EQ(cut.cuts, 2);
  EXPECT_EQ(CountParameters(whole).total - CountParameters(cut).total, 4 * (kAttention + kDense));
}

TEST(Change, RemovedLayersNeedNotBeInOrder) {
  EXPECT_EQ(Changed("Qwen3-8B", {"removed_layers=[5, 3, 4]"}).cuts, 1);
}

TEST(Change, RemovingTheOnlyDenseLayerLeavesAModelWithoutDenseBlocks) {
  const ModelSpec model = Changed("DeepSeek-V2-Lite", {"removed_layers=[0]"});
  EXPECT_EQ(model.dense_intermediate, 0);
  EXPECT_EQ(model.moe_layer_count(), 26);
}

TEST(Change, LayersThatAreNotThereCannotBeRemoved) {
  EXPECT_THAT(ErrorsOf(kMinimal, {"change.name=x", "change.removed_layers=[27]"}),
              ElementsAre(HasSubstr("change.removed_layers: must name some, not all, of the "
                                    "model's layers 0 to 26, got 1 up to 27")));
}

TEST(Change, ProductsAtCutsRunOncePerCutAndAreKeptInMemory) {
  const std::string patch =
      "extra_operations=[{name: patch, place: cut, product: {inputs: 4096, outputs: 4096}}]";
  const ModelSpec plain = Changed("Qwen3-8B", {"removed_layers=[20, 21, 22, 30]"});
  const ModelSpec patched = Changed("Qwen3-8B", {"removed_layers=[20, 21, 22, 30]", patch});
  EXPECT_EQ(CountParameters(patched).total - CountParameters(plain).total, 2 * 4096.0 * 4096);
  EXPECT_EQ(WeightBytesPerGpu(patched, {}).count() - WeightBytesPerGpu(plain, {}).count(),
            2 * 4096.0 * 4096 * 2);
  ASSERT_EQ(patched.extras.size(), 1u);
  EXPECT_EQ(patched.extras[0].name, "extra.patch");
  EXPECT_EQ(patched.extras[0].flops_per_row, 2 * 4096.0 * 4096);
  EXPECT_EQ(Executions(patched, patched.extras[0]), 2);
}

TEST(Change, KroneckerTransformCostsTwoSmallProducts) {
  const ModelSpec model = Changed(
      "Qwen3-8B",
      {"extra_operations=[{name: t, count: 2, kronecker: {left: 64, right: 64, output_bits: 4}}]"});
  const ExtraOperation& transform = model.extras.at(0);
  EXPECT_EQ(transform.flops_per_row, 2 * 4096.0 * (64 + 64));
  EXPECT_EQ(transform.bytes_per_row, 4096 * (2 + 0.5));
  EXPECT_EQ(transform.weights, 2 * 64.0 * 64);
  EXPECT_EQ(Executions(model, transform), 2 * 36);
}

TEST(Change, DenseBlocksBecomeExpertsOfTheSameWeightsAndARouter) {
  const ModelSpec dense = Changed("Qwen3-8B", {});
  const ModelSpec moe =
      Changed("Qwen3-8B", {"dense_to_moe={slices: 8, shared: 3, active: 3}"});  // S3A3E8
  const double router = 2 * 4096.0 * 5;
  EXPECT_EQ(CountParameters(moe).total - CountParameters(dense).total, 36 * router);
  EXPECT_EQ(MultiplyAdds(dense) - MultiplyAdds(moe), 36 * (kDense / 4 - router));
  EXPECT_EQ(moe.moe_layer_count(), 36);
  EXPECT_EQ(moe.moe->experts, 5);
  EXPECT_EQ(moe.moe->top_k, 3);
  EXPECT_EQ(moe.moe->shared_intermediate, 3 * 1536);
}

TEST(Change, SplitExpertsKeepTheirWeightsAndUseAShareOfThem) {
  // Qwen3-30B-A3B: 48 layers, hidden 2048, 128 experts of 768, top 8.
  const ModelSpec whole = Changed("Qwen3-30B-A3B", {});
  const ModelSpec split =
      Changed("Qwen3-30B-A3B", {"split_experts={slices: 8, shared: 3, active: 3}"});
  const double expert = 3.0 * 2048 * 768;
  const double router = 2048.0 * 2 * 5;
  EXPECT_DOUBLE_EQ(CountParameters(split).total - CountParameters(whole).total, 48 * 128 * router);
  EXPECT_DOUBLE_EQ(MultiplyAdds(whole) - MultiplyAdds(split), 48 * 8 * (expert / 4 - router));
}

TEST(Change, InputsLeftOutAreNeitherMultipliedNorCounted) {
  const ModelSpec whole = Changed("Qwen3-8B", {});
  const ModelSpec sparse =
      Changed("Qwen3-8B", {"left_out_inputs={attention: 0.25, dense_ffn: 0.5}"});
  EXPECT_DOUBLE_EQ(MultiplyAdds(whole) - MultiplyAdds(sparse),
                   36 * (kAttention * 0.25 + kDense * 0.5));
  EXPECT_EQ(CountParameters(sparse).total, CountParameters(whole).total);
}

TEST(Change, SlicesMustDivideAndFitTheBlock) {
  const std::vector<std::string> base{"model=Qwen3-8B", "change.name=x"};
  const auto errors = [&](const std::string& change) {
    return ErrorsOf(kMinimal, {base[0], base[1], "change." + change});
  };
  EXPECT_THAT(errors("dense_to_moe={slices: 7, shared: 1, active: 1}"),
              ElementsAre(HasSubstr("must divide the intermediate size (12288), got 7")));
  EXPECT_THAT(errors("dense_to_moe={slices: 8, shared: 4, active: 5}"),
              ElementsAre(HasSubstr("within slices (8), got 5")));
  EXPECT_THAT(errors("split_experts={slices: 8, shared: 3, active: 3}"),
              ElementsAre(HasSubstr("model 'Qwen3-8B' has no experts")));
}

}  // namespace
}  // namespace moecast::test
