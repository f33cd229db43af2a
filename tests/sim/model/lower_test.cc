#include "sim/model/lower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/sim/model/model_builders.h"
#include "tests/support/builders.h"

namespace moecast {
namespace {

/// A step of one group, with room for its loads.
struct Batch {
  AttentionLoad load;
  std::vector<ExpertLoad> experts{};
  bool graph = false;
  int64_t rows = 0;
  [[nodiscard]] StepShape Shape() const {
    const int64_t padded = rows == 0 ? load.tokens() : rows;
    return {.attention = {&load, 1},
            .rows_per_group = padded,
            .logit_rows_per_group = load.decode_sequences + load.prefill_chunks,
            .tokens = load.tokens(),
            .graph = graph,
            .experts = experts};
  }
};

AttentionLoad Decode(int64_t sequences, int64_t context) {
  AttentionLoad load;
  load.decode_sequences = sequences;
  load.decode_context = context;
  load.decode_context_window = context;
  return load;
}

AttentionLoad Prefill(int64_t tokens, int64_t past) {
  AttentionLoad load;
  load.prefill_tokens = tokens;
  load.prefill_chunks = 1;
  load.prefill_pairs = static_cast<double>(tokens * past + tokens * (tokens + 1) / 2);
  load.prefill_pairs_window = load.prefill_pairs;
  load.prefill_context = past + tokens;
  load.prefill_context_window = past + tokens;
  return load;
}

std::vector<CountedOp> LowerAll(const ModelSpec& model, const Batch& batch,
                                const Parallelism& p = {}) {
  const Lowering lowering(model, p, test::Bf16Kv(model));
  std::vector<CountedOp> ops;
  lowering.Lower(batch.Shape(), batch.load, ops);
  return ops;
}

template <class Body>
std::vector<std::pair<Body, int64_t>> OfKind(const std::vector<CountedOp>& ops) {
  std::vector<std::pair<Body, int64_t>> found;
  for (const CountedOp& counted : ops) {
    if (const auto* body = std::get_if<Body>(&counted.op)) found.push_back({*body, counted.count});
  }
  return found;
}

const Gemm* FindGemm(const std::vector<CountedOp>& ops, GemmRole role) {
  for (const CountedOp& counted : ops) {
    const auto* gemm = std::get_if<Gemm>(&counted.op);
    if (gemm != nullptr && gemm->role == role) return gemm;
  }
  return nullptr;
}

TEST(Lower, DenseGqaStepNamesEveryOpOnceWithItsLayerCount) {
  const auto ops = LowerAll(test::TinyDenseModel(), {.load = Decode(3, 30)});
  std::vector<std::pair<std::string, int64_t>> names;
  for (const CountedOp& op : ops) names.emplace_back(OpName(op.op), op.count);
  EXPECT_THAT(names, ::testing::ElementsAre(
                         std::pair("elementwise.embedding", 1), std::pair("elementwise.norm", 5),
                         std::pair("gemm.qkv", 2), std::pair("elementwise.rope", 2),
                         std::pair("gemm.attention_out", 2), std::pair("kv_append", 2),
                         std::pair("attention.decode", 2), std::pair("gemm.dense_gate_up", 2),
                         std::pair("elementwise.activation", 2), std::pair("gemm.dense_down", 2),
                         std::pair("gemm.lm_head", 1), std::pair("elementwise.sampling", 1)));
}

TEST(Lower, EmptyStepHasNoOps) { EXPECT_TRUE(LowerAll(test::TinyDenseModel(), {}).empty()); }

TEST(Lower, PaddedRowsReachGemmsButNotTheCache) {
  const auto ops =
      LowerAll(test::TinyDenseModel(), {.load = Decode(3, 30), .graph = true, .rows = 8});
  EXPECT_EQ(FindGemm(ops, GemmRole::kQkv)->rows, 8);
  EXPECT_EQ(FindGemm(ops, GemmRole::kDenseDown)->rows, 8);
  EXPECT_EQ(OfKind<DecodeAttention>(ops).at(0).first.sequences, 3);
  EXPECT_EQ(OfKind<KvAppend>(ops).at(0).first.tokens, 3);
}

TEST(Lower, GqaSplitsHeadsOverTensorRanksAndKeepsAtLeastOneKvHead) {
  const ModelSpec model = test::Qwen3_235B();
  const std::vector<ExpertLoad> experts(94);
  const auto ops = LowerAll(model, {.load = Decode(1, 10), .experts = experts}, {.tensor = 8});
  EXPECT_EQ(FindGemm(ops, GemmRole::kQkv)->n, (64 / 8 + 2 * 1) * 128);
  const DecodeAttention decode = OfKind<DecodeAttention>(ops).at(0).first;
  EXPECT_EQ(decode.heads, 8);
  EXPECT_EQ(decode.kv_bytes_per_token, 2 * 128 * 2);
  EXPECT_EQ(decode.flops_per_context_token, 2.0 * 8 * (128 + 128));
}

TEST(Lower, SlidingWindowLayersReadAtMostTheWindow) {
  ModelSpec model = test::TinyDenseModel();
  model.layers.front().attention = AttentionKind::kSlidingWindow;
  model.sliding_window = 16;
  Batch batch{.load = Decode(2, 200)};
  batch.load.decode_context_window = 32;
  const auto decodes = OfKind<DecodeAttention>(LowerAll(model, batch));
  ASSERT_EQ(decodes.size(), 2u);
  EXPECT_EQ(decodes[0].first.context, 200);
  EXPECT_EQ(decodes[1].first.context, 32);
  EXPECT_EQ(decodes[0].second + decodes[1].second, 2);
}

TEST(Lower, MlaDecodeAttendsInLatentSpaceThroughAbsorbedProjections) {
  const std::vector<ExpertLoad> experts(26);
  const auto ops = LowerAll(test::DeepSeekV2Lite(), {.load = Decode(4, 1000), .experts = experts});
  const Gemm* query = FindGemm(ops, GemmRole::kMlaAbsorbQuery);
  const Gemm* value = FindGemm(ops, GemmRole::kMlaAbsorbValue);
  ASSERT_TRUE(query != nullptr && value != nullptr);
  EXPECT_EQ(query->batch * query->n * query->k + value->batch * value->n * value->k,
            512 * 16 * (128 + 128));  // together the up-projection of keys and values
  const DecodeAttention decode = OfKind<DecodeAttention>(ops).at(0).first;
  EXPECT_EQ(decode.kv_bytes_per_token, 576 * 2);
  EXPECT_EQ(decode.flops_per_context_token, 2.0 * 16 * (576 + 512));
  EXPECT_EQ(FindGemm(ops, GemmRole::kMlaKeyValueUp), nullptr);
}

TEST(Lower, MlaPrefillRebuildsKeysAndValuesOfEveryCachedToken) {
  const std::vector<ExpertLoad> experts(26);
  const auto ops = LowerAll(test::DeepSeekV2Lite(), {.load = Prefill(100, 50), .experts = experts});
  const Gemm* up = FindGemm(ops, GemmRole::kMlaKeyValueUp);
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->rows, 150);
  EXPECT_EQ(up->n, 16 * (128 + 128));
  const PrefillAttention prefill = OfKind<PrefillAttention>(ops).at(0).first;
  EXPECT_EQ(prefill.flops_per_pair, 2.0 * 16 * (192 + 128));
  EXPECT_EQ(FindGemm(ops, GemmRole::kMlaAbsorbQuery), nullptr);
}

TEST(Lower, MlaPrefillCopiesCachedLatentsOnlyOverAPastAndRotaryPartsAlways) {
  const std::vector<ExpertLoad> experts(26);
  const auto of_role = [&](const AttentionLoad& load, ElementwiseRole role) {
    std::optional<Elementwise> found;
    for (const auto& [op, count] :
         OfKind<Elementwise>(LowerAll(test::DeepSeekV2Lite(), {.load = load, .experts = experts})))
      if (op.role == role) found = op;
    return found;
  };
  const auto past = of_role(Prefill(100, 50), ElementwiseRole::kMlaPast);
  ASSERT_TRUE(past.has_value());
  EXPECT_EQ(past->rows, 150);
  EXPECT_EQ(past->bytes_per_row, 2 * 576 * 2);  // read and written in bf16
  EXPECT_FALSE(of_role(Prefill(50, 0), ElementwiseRole::kMlaPast).has_value());
  const auto keys = of_role(Prefill(50, 0), ElementwiseRole::kMlaKeys);
  ASSERT_TRUE(keys.has_value());
  EXPECT_EQ(keys->rows, 50);
  EXPECT_EQ(keys->bytes_per_row, (16 * 128 + 64 + 16 * (128 + 64)) * 2);
}

TEST(Lower, MlaWithoutQueryLatentProjectsQueriesFromHidden) {
  const std::vector<ExpertLoad> experts(26);
  const auto ops = LowerAll(test::DeepSeekV2Lite(), {.load = Decode(1, 1), .experts = experts});
  EXPECT_EQ(FindGemm(ops, GemmRole::kMlaDown)->n, 576);
  EXPECT_EQ(FindGemm(ops, GemmRole::kMlaQueryUp)->k, 2048);
}

TEST(Lower, LinearAttentionReadsAndWritesItsStateOncePerSequence) {
  ModelSpec model = test::TinyDenseModel();
  model.layers.front().attention = AttentionKind::kLinear;
  model.linear_attention = LinearAttention{
      .key_heads = 2, .value_heads = 4, .key_head_dim = 3, .value_head_dim = 5, .conv_width = 4};
  Batch batch{.load = Prefill(64, 0)};
  batch.load.decode_sequences = 2;
  batch.load.decode_context = 20;
  const auto ops = LowerAll(model, batch);
  const auto scans = OfKind<LinearAttentionScan>(ops);
  ASSERT_EQ(scans.size(), 1u);
  const int64_t state = 4 * 5 * 3;
  const int64_t convolution = (2 * 6 + 20) * 3;
  EXPECT_EQ(scans[0].first.sequences, 3);
  EXPECT_EQ(scans[0].first.tokens, 66);
  EXPECT_EQ(scans[0].first.state_bytes_per_sequence,
            2.0 * static_cast<double>(state + convolution) * 2);
  EXPECT_EQ(scans[0].first.flops_per_token, 6.0 * static_cast<double>(state));
  EXPECT_EQ(FindGemm(ops, GemmRole::kLinearAttentionIn)->n, 2 * 6 + 2 * 20 + 2 * 4);
  EXPECT_EQ(OfKind<KvAppend>(ops).at(0).second, 1);  // only the other layer has a cache
}

TEST(Lower, OutputGateWidensTheQueryProjectionOnly) {
  ModelSpec model = test::TinyDenseModel();
  const int64_t plain = FindGemm(LowerAll(model, {.load = Decode(1, 1)}), GemmRole::kQkv)->n;
  model.attention_output_gate = true;
  const auto ops = LowerAll(model, {.load = Decode(1, 1)});
  EXPECT_EQ(FindGemm(ops, GemmRole::kQkv)->n, plain + 8);
  EXPECT_EQ(FindGemm(ops, GemmRole::kAttentionOut)->k, 8);
}

TEST(Lower, ExpertWorkOfAllMoeLayersIsOneOpOverTheCallersHistogram) {
  const std::vector<ExpertLoad> experts(26);
  const auto ops = LowerAll(test::DeepSeekV2Lite(), {.load = Decode(1, 1), .experts = experts});
  const auto found = OfKind<ExpertGemm>(ops);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].second, 26);
  EXPECT_EQ(found[0].first.loads.size(), 26u);
  EXPECT_EQ(FindGemm(ops, GemmRole::kSharedGateUp)->n, 2 * 2816);
  EXPECT_EQ(FindGemm(ops, GemmRole::kRouter)->n, 64);
  EXPECT_EQ(OfKind<RouteTokens>(ops).at(0).first.top_k, 6);
}

TEST(Lower, AStepWithoutLogitsSkipsTheHead) {
  Batch batch{.load = Prefill(32, 0)};
  const ModelSpec model = test::TinyDenseModel();
  StepShape shape = batch.Shape();
  shape.logit_rows_per_group = 0;
  std::vector<CountedOp> ops;
  Lowering(model, {}, test::Bf16Kv(model)).Lower(shape, batch.load, ops);
  EXPECT_EQ(FindGemm(ops, GemmRole::kLmHead), nullptr);
}

}  // namespace
}  // namespace moecast
