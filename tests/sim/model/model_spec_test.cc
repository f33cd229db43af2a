#include "sim/model/model_spec.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace moecast {
namespace {

TEST(ModelSpec, ParametersOfATinyDenseModelByHand) {
  // Per layer: q 8x8, k and v 8x4 each, o 8x8, and 3 feed-forward matrices of 8x16. Embedding and
  // head: 32x8 each.
  const double layer = 64 + 2 * 32 + 64 + 3 * 128;
  const ParameterCount count = CountParameters(test::TinyDenseModel());
  EXPECT_EQ(count.total, 2 * layer + 2 * 256);
  EXPECT_EQ(count.active, count.total);
}

TEST(ModelSpec, TiedEmbeddingsAreCountedOnce) {
  ModelSpec model = test::TinyDenseModel();
  const double untied = CountParameters(model).total;
  model.tied_embeddings = true;
  EXPECT_EQ(untied - CountParameters(model).total, 256);
}

TEST(ModelSpec, OnlyChosenExpertsAreActive) {
  const ParameterCount count = CountParameters(test::TinyMoeModel(8, 2));
  const double expert = 3 * 8 * 4;
  EXPECT_EQ(count.total - count.active, (8 - 2) * expert);
}

TEST(ModelSpec, OutputGateAddsOneMatrixPerSoftmaxLayer) {
  ModelSpec model = test::TinyDenseModel();
  const double plain = CountParameters(model).total;
  model.attention_output_gate = true;
  EXPECT_EQ(CountParameters(model).total - plain, 2 * 8 * 8);
}

TEST(ModelSpec, KvElementsCountKeysAndValuesOfDifferentWidth) {
  ModelSpec model = test::TinyDenseModel();
  model.attention = GqaAttention{.heads = 4, .kv_heads = 2, .head_dim = 6, .value_head_dim = 4};
  EXPECT_EQ(KvElementsPerTokenLayer(model), 2 * (6 + 4));
}

TEST(ModelSpec, MlaCachesOneLatentHoweverManyHeads) {
  ModelSpec model = test::TinyDenseModel();
  model.attention = MlaAttention{.heads = 128,
                                 .q_lora_rank = 4,
                                 .kv_lora_rank = 5,
                                 .qk_nope_head_dim = 3,
                                 .qk_rope_head_dim = 2,
                                 .v_head_dim = 3};
  EXPECT_EQ(KvElementsPerTokenLayer(model), 5 + 2);
}

}  // namespace
}  // namespace moecast
