// LLMServingSim, vidur and MoE-CAP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "calibration/import/llmservingsim.h"
#include "calibration/import/moe_cap.h"
#include "calibration/import/vidur.h"
#include "tests/calibration/import/import_fixture.h"
#include "tests/support/builders.h"

namespace moecast::calibration {
namespace {

using enum Feature;
using ::testing::HasSubstr;

ModelSpec Model() {
  ModelSpec model = moecast::test::TinyMoeModel();
  model.hidden = 2048;
  model.moe->experts = 128;
  model.moe->top_k = 8;
  model.moe->expert_intermediate = 768;
  return model;
}

TEST(LlmServingSim, SlotsGoRoundTheActiveExperts) {
  const Result<Imported> imported =
      ImportLlmServingSimTable("tokens,activated_experts,time_us\n10,32,225.5\n", "tp1/moe.csv",
                               "moe", 1, Model(), test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  const KernelRow& row = imported->rows.front();
  EXPECT_EQ(row.features[kAssignments], 80);
  EXPECT_EQ(row.features[kDistinct], 32);
  EXPECT_EQ(row.features[kMaxLoad], 3);  // 16 experts of 3 rows, 16 of 2
  EXPECT_EQ(row.features[kPaddedRows], 32 * 16);
  EXPECT_DOUBLE_EQ(row.time_ns, 225500);
}

TEST(LlmServingSim, LeavesOutWeightsThatTheCacheHolds) {
  ImportTarget target = test::Target();
  target.device.l2_capacity = Bytes(128.0 * 1024 * 1024);
  const Result<Imported> imported =
      ImportLlmServingSimTable("tokens,activated_experts,time_us\n1,8,50\n4,32,230\n",
                               "tp1/moe.csv", "moe", 1, Model(), target);
  ASSERT_TRUE(imported.ok());
  EXPECT_EQ(imported->rows.size(), 1U);
  EXPECT_THAT(Describe(*imported), HasSubstr("left out 1: weights fit the last-level cache"));
}

TEST(LlmServingSim, RefusesMoreExpertsThanSlots) {
  const Result<Imported> bad =
      ImportLlmServingSimTable("tokens,activated_experts,time_us\n1,9,50\n", "tp1/moe.csv", "moe",
                               1, Model(), test::Target());
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(ToString(bad.errors()), HasSubstr("tp1/moe.csv:2: activated_experts is '9'"));
}

TEST(LlmServingSim, ReadsThePublishedProfile) {
  const auto folder = std::filesystem::path(MOECAST_SHARED_DATA) / "kernels_llmservingsim";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
  const Result<Imported> imported = ImportLlmServingSim(folder, Model(), test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  EXPECT_GT(imported->rows.size(), 1000U);
}

TEST(Vidur, ReadsAllReduceWithTheIndexThatPandasWrites) {
  const Result<Imported> imported = ImportVidur(
      ",time_stats.all_reduce.min,time_stats.all_reduce.median,rank,num_workers,size,collective\n"
      "0,0.01,0.037,0,8,2048,all_reduce\n1,0.01,0.03,0,1,2048,all_reduce\n",
      "all_reduce.csv", test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  ASSERT_EQ(imported->rows.size(), 1U);
  EXPECT_DOUBLE_EQ(imported->rows[0].time_ns, 37000);
  EXPECT_EQ(imported->rows[0].features[kMessageBytes], 2048);
  EXPECT_THAT(Describe(*imported), HasSubstr("left out 1: one GPU exchanges nothing"));
}

TEST(Vidur, SplitsALineIntoItsProducts) {
  const Result<Imported> imported = ImportVidur(
      "time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,"
      "time_stats.mlp_up_proj.median,time_stats.mlp_down_proj.median,n_head,n_kv_head,n_embd,"
      "n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_workers\n"
      "0.2,0.1,0.3,0,32,8,4096,14336,True,64,2\n",
      "mlp.csv", test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  ASSERT_EQ(imported->rows.size(), 3U);
  EXPECT_EQ(imported->rows[0].features[kN], (4096 + 2 * 8 * 128) / 2);
  EXPECT_EQ(imported->rows[2].features[kN], 14336);
  EXPECT_THAT(Describe(*imported), HasSubstr("shorter than the tracer resolves"));
}

TEST(Vidur, SaysWhatItLooksFor) {
  const Result<Imported> bad = ImportVidur("a,b\n1,2\n", "x.csv", test::Target());
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(ToString(bad.errors()), HasSubstr("x.csv:1: none of vidur's tables"));
}

TEST(MoeCap, ReadsStepsNextToTheirExperts) {
  const Result<Imported> imported = ImportMoeCap(
      R"({"forward_pass_id": 3, "batch_size": 16, "latency": 0.0125, "seq_lens_sum": 9000,)"
      R"( "forward_mode": "decode", "expert_activation": 44.5, "expert_utilization": 0.7})"
      "\n\n",
      "record.jsonl", test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  const KernelRow& row = imported->rows.front();
  EXPECT_EQ(row.op, "step");
  EXPECT_EQ(row.variant, "decode");
  EXPECT_DOUBLE_EQ(row.time_ns, 12.5e6);
  EXPECT_EQ(row.features[kDistinct], 44.5);
  EXPECT_EQ(row.features[kTokens], 16);
}

TEST(MoeCap, ErrorsNameTheLineAndTheField) {
  const Result<Imported> bad = ImportMoeCap(
      "{\"forward_pass_id\": 3}\nnot json\n"
      R"({"forward_pass_id": 3, "batch_size": 16, "latency": 0.01, "seq_lens_sum": 9,)"
      R"( "forward_mode": "both", "expert_activation": 4})",
      "record.jsonl", test::Target());
  ASSERT_FALSE(bad.ok());
  const std::string text = ToString(bad.errors());
  EXPECT_THAT(text, HasSubstr("record.jsonl:1: forward_mode is missing"));
  EXPECT_THAT(text, HasSubstr("record.jsonl:2: no JSON object"));
  EXPECT_THAT(text, HasSubstr("record.jsonl:3: forward_mode is \"both\""));
}

}  // namespace
}  // namespace moecast::calibration
