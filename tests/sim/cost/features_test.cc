#include "sim/cost/features.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/builders.h"

namespace moecast {
namespace {

TEST(Features, GemmMovesWeightsOnceAndActivationsPerRow) {
  const TensorFormat fp8{.name = "fp8", .stored_bits = 8, .compute = ComputeClass::kFp8};
  const OpFeatures f = Features(Gemm{.role = GemmRole::kQkv,
                                     .rows = 3,
                                     .n = 5,
                                     .k = 7,
                                     .batch = 2,
                                     .format = &fp8,
                                     .activation_bytes = 2});
  EXPECT_EQ(f.bytes.count(), 2 * (5 * 7 * 1 + 3 * (5 + 7) * 2));
  EXPECT_EQ(f.flops.count(), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(f.compute, ComputeClass::kFp8);
}

TEST(Features, ExpertsReadEachDistinctExpertOnceAndComputePaddedRows) {
  const TensorFormat bf16 = test::Bf16();
  const ExpertGemm op{.hidden = 8, .intermediate = 4, .format = &bf16, .activation_bytes = 2};
  const ExpertLoad load{.assignments = 10, .distinct = 3, .padded_rows = 48, .max_expert = 6};
  const OpFeatures f = Features(op, load, 10).most;
  const double expert = 3 * 8 * 4 * 2;
  const double assignment = (3 * 8 + 6 * 4) * 2;
  EXPECT_EQ(f.bytes.count(), 3 * expert + 10 * assignment);
  EXPECT_EQ(f.flops.count(), 48 * 6 * 8 * 4);
}

TEST(Features, RanksThatHoldEveryTokenMoveTheBuffersOfAllAssignments) {
  const TensorFormat bf16 = test::Bf16();
  ExpertGemm op{.hidden = 8, .intermediate = 4, .format = &bf16, .activation_bytes = 2};
  const ExpertLoad load{.assignments = 10, .distinct = 1, .padded_rows = 10, .max_expert = 10};
  const double local = Features(op, load, 40).most.bytes.count();
  op.tokens_replicated = true;
  EXPECT_EQ(Features(op, load, 10).most.bytes.count(), local);
  EXPECT_EQ(Features(op, load, 40).most.bytes.count() - local, 30 * (2 * 8 + 6 * 4) * 2);
}

TEST(Features, DecodeAttentionReadsTheCacheOnce) {
  const OpFeatures f = Features(DecodeAttention{.sequences = 2,
                                                .context = 100,
                                                .heads = 4,
                                                .kv_bytes_per_token = 16,
                                                .query_bytes_per_token = 32,
                                                .flops_per_context_token = 64});
  EXPECT_EQ(f.bytes.count(), 100 * 16 + 2 * 32);
  EXPECT_EQ(f.flops.count(), 100 * 64);
}

TEST(Features, PrefillAttentionComputesPairsAndReadsContext) {
  const OpFeatures f = Features(PrefillAttention{.tokens = 10,
                                                 .pairs = 55,
                                                 .context = 10,
                                                 .heads = 4,
                                                 .kv_bytes_per_token = 16,
                                                 .query_bytes_per_token = 32,
                                                 .flops_per_pair = 64});
  EXPECT_EQ(f.bytes.count(), 10 * 16 + 10 * 32);
  EXPECT_EQ(f.flops.count(), 55 * 64);
}

TEST(Features, RoutingReadsScoresAndWritesChoices) {
  const OpFeatures f = Features(RouteTokens{.rows = 5, .experts = 64, .top_k = 6});
  EXPECT_EQ(f.bytes.count(), 5 * (64 * 4 + 6 * (4 + 4)));
}

TEST(Features, FullestRankReceivesEachTokenAtMostOnce) {
  const std::vector<ExpertLoad> loads{ExpertLoad{.assignments = 3}, ExpertLoad{.assignments = 40},
                                      ExpertLoad{.assignments = 12}, ExpertLoad{.assignments = 8}};
  const ExpertExchange op{.loads = loads, .ranks = 2, .gpus = 2, .row_cap = 16, .bytes_per_row = 1};
  EXPECT_EQ(MeanFullestRows(op), (16 + 12) / 2.0);
}

}  // namespace
}  // namespace moecast
