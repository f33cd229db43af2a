#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "tests/scenarios/imported_model.h"

namespace moecast::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A small MoE model; `more` are further keys, which replace earlier ones of the same name.
std::string Config(const std::string& more = "") {
  return R"({"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 100,
"max_position_embeddings": 1000, "num_attention_heads": 4, "num_key_value_heads": 2,
"intermediate_size": 200, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2,
"tie_word_embeddings": false, "torch_dtype": "bfloat16", "norm_topk_prob": true)" +
         (more.empty() ? "" : ", " + more) + "}";
}

std::vector<std::string> ErrorsOfConfig(const std::string& text) {
  const Result<ImportedModel> model = Import(text);
  std::vector<std::string> lines;
  if (model.ok()) return lines;
  for (const Error& error : model.errors()) lines.push_back(error.where + ": " + error.message);
  return lines;
}

ModelSpec ModelOf(const std::string& text) {
  const Result<ImportedModel> model = Import(text);
  if (!model.ok()) {
    ADD_FAILURE() << ToString(model.errors());
    return {};
  }
  return LoadImported(*model);
}

TEST(ImportModel, ReadsAPlainMoeConfig) {
  const ModelSpec model = ModelOf(Config());
  EXPECT_EQ(model.hidden, 64);
  EXPECT_EQ(model.moe_layer_count(), 4);
  EXPECT_EQ(model.moe->experts, 8);
  EXPECT_EQ(model.moe->expert_intermediate, 32);
  EXPECT_TRUE(model.moe->renormalise);
  EXPECT_EQ(std::get<GqaAttention>(model.attention).head_dim, 16);
}

TEST(ImportModel, SaysWhatItInferred) {
  const Result<ImportedModel> model = Import(Config());
  ASSERT_TRUE(model.ok());
  EXPECT_THAT(model->inferred, Contains("scoring: softmax, by model_type qwen3_moe"));
  EXPECT_THAT(model->inferred, Contains(HasSubstr("head_dim: 16")));
}

TEST(ImportModel, UnknownModelTypeIsSaidToBeAssumed) {
  const Result<ImportedModel> model = Import(Config(R"("model_type": "brand_new")"));
  ASSERT_TRUE(model.ok()) << ToString(model.errors());
  EXPECT_THAT(model->inferred, Contains(HasSubstr("scoring: softmax, assumed")));
}

TEST(ImportModel, DenseModelHasNoExperts) {
  const ModelSpec model = ModelOf(
      R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "vocab_size": 100,
          "max_position_embeddings": 1000, "num_attention_heads": 4, "intermediate_size": 200})");
  EXPECT_FALSE(model.moe.has_value());
  EXPECT_EQ(model.dense_intermediate, 200);
  EXPECT_EQ(std::get<GqaAttention>(model.attention).kv_heads, 4);
}

TEST(ImportModel, CombinesEveryRuleForDenseLayers) {
  const auto dense = [](const std::string& more) {
    std::string kinds;
    for (const LayerSpec& layer : ModelOf(Config(more)).layers) {
      kinds += layer.feed_forward == FeedForwardKind::kMoe ? 'm' : 'd';
    }
    return kinds;
  };
  EXPECT_EQ(dense(R"("first_k_dense_replace": 1)"), "dmmm");
  EXPECT_EQ(dense(R"("mlp_only_layers": [2])"), "mmdm");
  EXPECT_EQ(dense(R"("decoder_sparse_step": 2)"), "dmdm");
  EXPECT_EQ(dense(R"("moe_layer_freq": [0, 1, 0, 1])"), "dmdm");
  EXPECT_EQ(dense(R"("first_k_dense_replace": 1, "mlp_only_layers": [3])"), "dmmd");
}

TEST(ImportModel, WindowsFollowTheirSwitches) {
  const auto windowed = [](const std::string& more) {
    const ModelSpec model = ModelOf(Config(more));
    std::string kinds;
    for (const LayerSpec& layer : model.layers) {
      kinds += layer.attention == AttentionKind::kSlidingWindow ? 'w' : 'f';
    }
    return kinds + std::to_string(model.sliding_window);
  };
  EXPECT_EQ(windowed(R"("sliding_window": 128)"), "wwww128");
  EXPECT_EQ(windowed(R"("sliding_window": 128, "use_sliding_window": false)"), "ffff0");
  EXPECT_EQ(windowed(R"("sliding_window": 1000)"), "ffff0");
  EXPECT_EQ(
      windowed(R"("sliding_window": 128, "use_sliding_window": true, "max_window_layers": 3)"),
      "fffw128");
  EXPECT_EQ(windowed(R"("sliding_window": 128, "layer_types":
            ["sliding_attention", "full_attention", "sliding_attention", "full_attention"])"),
            "wfwf128");
}

TEST(ImportModel, QuantisationGivesEachTensorClassItsFormat) {
  const WeightFormats formats =
      ModelOf(
          Config(R"("quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128],
                        "modules_to_not_convert": ["model.layers.*.self_attn"]})"))
          .formats;
  EXPECT_EQ(formats.experts.name, "fp8-block");
  EXPECT_EQ(formats.attention.name, "bf16");
  EXPECT_EQ(formats.dense_ffn.name, "fp8-block");
  EXPECT_EQ(formats.embeddings.name, "bf16");
}

TEST(ImportModel, MissingKeysAreAllNamed) {
  EXPECT_THAT(ErrorsOfConfig(R"({"model_type": "llama", "num_hidden_layers": 2})"),
              AllOf(Contains("config.json: hidden_size: is missing"),
                    Contains("config.json: vocab_size: is missing"),
                    Contains("config.json: num_attention_heads: is missing")));
}

TEST(ImportModel, MissingTopKListsItsOtherNames) {
  std::string config = Config();
  const std::string key = R"("num_experts_per_tok": 2,)";
  config.replace(config.find(key), key.size(), "");
  EXPECT_THAT(
      ErrorsOfConfig(config),
      Contains("config.json: num_experts_per_tok: is missing, and so is every other name for "
               "it (experts_per_token, moe_topk, moe_k)"));
}

TEST(ImportModel, MissingModelTypeIsAnError) {
  EXPECT_THAT(ErrorsOfConfig(R"({"hidden_size": 64})"),
              Contains(HasSubstr("model_type: is missing")));
}

TEST(ImportModel, NamesForOneThingMustAgree) {
  EXPECT_THAT(
      ErrorsOfConfig(Config(R"("experts_per_token": 4)")),
      Contains("config.json: experts_per_token: is 4, but num_experts_per_tok, another name "
               "for the same thing, is 2"));
}

TEST(ImportModel, ListsMustHoldOneValue) {
  EXPECT_EQ(ModelOf(Config(R"("moe_topk": [2, 2, 2, 2])")).moe->top_k, 2);
  EXPECT_THAT(ErrorsOfConfig(Config(R"("num_experts": [8, 8, 4, 8])")),
              ElementsAre(HasSubstr("num_experts: differs between layers")));
}

TEST(ImportModel, ContradictionsAreFoundByTheRulesOfScenarios) {
  EXPECT_THAT(ErrorsOfConfig(Config(R"("num_experts_per_tok": 9)")),
              ElementsAre("config.json: model.moe.top_k: must be at most experts (8), got 9"));
  EXPECT_THAT(ErrorsOfConfig(Config(R"("hidden_size": -64, "head_dim": 16)")),
              ElementsAre(HasSubstr("hidden_size: expected a whole number of at least 1")));
  EXPECT_THAT(ErrorsOfConfig(Config(R"("num_key_value_heads": 3)")),
              ElementsAre(HasSubstr("kv_heads: must divide heads (4), got 3")));
}

TEST(ImportModel, WrongTypesAreErrors) {
  EXPECT_THAT(ErrorsOfConfig(Config(R"("hidden_size": "64")")),
              Contains("config.json: hidden_size: expected a whole number up to 1e9, got \"64\""));
  EXPECT_THAT(ErrorsOfConfig(Config(R"("vocab_size": 1.5)")),
              Contains(HasSubstr("vocab_size: expected a whole number up to 1e9, got 1.5")));
  EXPECT_THAT(ErrorsOfConfig(Config(R"("norm_topk_prob": 1)")),
              Contains(HasSubstr("norm_topk_prob: expected true or false")));
}

TEST(ImportModel, UnknownQuantisationIsAnError) {
  EXPECT_THAT(ErrorsOfConfig(Config(R"("quantization_config": {"quant_method": "hqq"})")),
              ElementsAre(HasSubstr("quant_method 'hqq'")));
}

TEST(ImportModel, NotJsonIsAnError) {
  EXPECT_THAT(ErrorsOfConfig("{"), ElementsAre(HasSubstr("config.json:1:2: not valid JSON")));
  EXPECT_THAT(ErrorsOfConfig("[]"), ElementsAre(HasSubstr("expected a JSON object")));
  EXPECT_THAT(ErrorsOfConfig(std::string(10'000, '[')), ElementsAre(HasSubstr("not valid JSON")));
}

TEST(ImportModel, ShippedEntryEqualsItsImport) {
  const Result<ImportedModel> model = Import(Config());
  ASSERT_TRUE(model.ok());
  EXPECT_THAT(model->yaml, Not(HasSubstr("/")));  // no folder of this machine
}

}  // namespace
}  // namespace moecast::test
