#include "calibration/import/aic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/calibration/import/import_fixture.h"
#include "tests/support/temporary_folder.h"

namespace moecast::calibration {
namespace {

using enum Feature;
using ::testing::HasSubstr;
using ::testing::Not;

Imported Import(const std::string& text, const std::string& name) {
  Result<Imported> imported = ImportAicTable(text, name, test::Target());
  EXPECT_TRUE(imported.ok()) << ToString(imported.errors());
  return std::move(*imported);
}

TEST(Aic, ExpertRowsHoldTheHistogramBehindTheirDistribution) {
  const Imported imported = Import(
      test::MoeTable("moe,triton,bfloat16,64,2048,1536,8,64,2,1,balanced,0.5\n"), "moe_perf.csv");
  ASSERT_EQ(imported.rows.size(), 1U);
  const KernelRow& row = imported.rows.front();
  EXPECT_EQ(row.op, "experts");
  EXPECT_EQ(row.variant, "triton");
  EXPECT_EQ(row.format, "bf16");
  EXPECT_DOUBLE_EQ(row.time_ns, 0.5e6);
  EXPECT_EQ(row.features[kAssignments], 512);
  EXPECT_EQ(row.features[kDistinct], 64);
  EXPECT_EQ(row.features[kPaddedRows], 64 * 16);
  EXPECT_EQ(row.features[kMaxLoad], 8);
  EXPECT_EQ(row.features[kIntermediate], 768);  // split over moe_tp_size
  EXPECT_EQ(row.source.Text(), "moe_perf.csv:2");
}

TEST(Aic, RowsOfOneRankOfSeveralAreAKernelOfTheirOwn) {
  const Imported imported =
      Import(test::MoeTable("moe,triton,fp8_block,64,2048,768,8,64,1,4,power_law_1.2,0.5\n"),
             "moe_perf.csv.gz");
  EXPECT_EQ(imported.rows.front().variant, "triton_ep");
  EXPECT_EQ(imported.rows.front().format, "fp8-block");
}

TEST(Aic, RefusesAndCountsRowsFasterThanTheDatasheet) {
  ImportTarget target = test::Target();
  target.device.hbm_bandwidth = BytesPerSecond(1e12);
  const std::string table = test::MoeTable(
      "moe,triton,bfloat16,64,2048,768,8,64,1,1,balanced,0.5\n"
      "moe,triton,bfloat16,64,2048,768,8,64,1,1,balanced,0.7\n");
  const Result<Imported> imported = ImportAicTable(table, "moe_perf.csv", target);
  ASSERT_TRUE(imported.ok());  // 64 experts of 9.4 MB take 0.604 ms
  EXPECT_EQ(imported->rows.size(), 1U);
  ASSERT_EQ(imported->refused.size(), 1U);
  EXPECT_EQ(imported->refused.front().source.Text(), "moe_perf.csv:2");
  EXPECT_THAT(Describe(*imported), HasSubstr("left out 1: faster than the datasheet allows"));
}

TEST(Aic, EveryRowIsKeptOrCountedWithItsReason) {
  const Imported imported =
      Import(test::MoeTable("moe,triton,bfloat16,8,64,64,2,8,1,1,balanced,0.5\n"
                            "moe,triton,fp5,8,64,64,2,8,1,1,balanced,0.5\n"
                            "moe,triton,bfloat16,8,64,64,2,8,1,1,power_law_1.2_eplb,0.5\n"),
             "moe_perf.csv");
  const FileImport& file = imported.files.front();
  int64_t left_out = 0;
  for (const auto& [reason, count] : file.left_out) left_out += count;
  EXPECT_EQ(file.rows, 3);
  EXPECT_EQ(file.kept + left_out, file.rows);
  EXPECT_TRUE(file.left_out.contains("weight format 'fp5' is not known"));
  EXPECT_TRUE(file.left_out.contains("the law of distribution 'power_law_1.2_eplb' is not known"));
}

TEST(Aic, MessagesOfCollectivesAreInElementsAndGatheredWhole) {
  const Imported imported = Import(
      "op_name,kernel_source,nccl_dtype,num_gpus,message_size,latency\n"
      "all_gather,NCCL,half,4,1024,0.01\nalltoall,NCCL,int8,4,1024,0.01\n",
      "nccl_perf.csv");
  EXPECT_EQ(imported.rows[0].format, imported.rows[1].format) << "bytes are bytes";
  EXPECT_EQ(imported.rows[0].features[kMessageBytes], 512);
  EXPECT_EQ(imported.rows[1].op, "all_to_all");
  EXPECT_EQ(imported.rows[1].features[kMessageBytes], 1024);
}

TEST(Aic, AWindowCutsWhatAttentionReads) {
  const std::string header =
      "op_name,kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,beam_width,"
      "attn_dtype,kv_cache_dtype,step,window_size,latency\n";
  const Imported decode =
      Import(header + "generation_attention,fa3,4,1,8,2,64,1,bfloat16,bfloat16,999,128,0.01\n",
             "generation_attention_perf.csv");
  EXPECT_EQ(decode.rows[0].features[kContext], 4 * 128);
  EXPECT_EQ(decode.rows[0].features[kKvBytesPerToken], 2 * 2 * 64 * 2);
  EXPECT_EQ(decode.rows[0].variant, "fa3_d64_w128");
  const Imported prefill =
      Import(header + "context_attention,fa3,1,6,8,2,64,1,bfloat16,bfloat16,0,4,0.01\n",
             "context_attention_perf.csv");
  EXPECT_EQ(prefill.rows[0].features[kPairs], 1 + 2 + 3 + 4 + 4 + 4);
}

TEST(Aic, AttentionThatMultipliesInEightBitsIsAKernelOfItsOwn) {
  const std::string head =
      "kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,attn_dtype,"
      "kv_cache_dtype,step,latency\n";
  const Imported both = Import(head + "triton,2,128,1,1,512,bfloat16,fp8,0,0.025\n" +
                                   "triton,2,128,1,1,512,fp8,fp8,0,0.015\n",
                               "context_attention_perf.csv");
  ASSERT_EQ(both.rows.size(), 2U);
  EXPECT_EQ(both.rows[0].variant, "triton_d512");
  EXPECT_EQ(both.rows[1].variant, "triton_d512_fp8");
  EXPECT_EQ(both.rows[0].format, both.rows[1].format);
}

TEST(Aic, AnAttentionKernelThatFallsWithMoreSequencesIsTwo) {
  std::string text =
      "kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,attn_dtype,"
      "kv_cache_dtype,step,latency\n";
  const auto add = [&](const char* source, int batch, int step, double ms) {
    text += std::string(source) + "," + std::to_string(batch) + ",1,16,2,512,bfloat16,bfloat16," +
            std::to_string(step) + "," + std::to_string(ms) + "\n";
  };
  for (const int step : {1, 3, 7, 15}) {
    for (const int batch : {1, 8, 64}) {
      add("two", batch, step, batch < 64 ? 1 + batch : 2);
      add("one", batch, step, 1 + batch);
    }
  }
  add("few", 1, 1, 9);  // one series is a wild row, not a kernel
  add("few", 8, 1, 1);
  std::map<std::string, int> rows;
  for (const KernelRow& row : Import(text, "generation_attention_perf.csv").rows)
    ++rows[row.variant];
  EXPECT_EQ(rows, (std::map<std::string, int>{
                      {"few_d512", 2}, {"one_d512", 12}, {"two_d512", 8}, {"two_d512_from64", 4}}));
}

TEST(Aic, DeepEpLinesHoldTwoOperationsInMicroseconds) {
  const Imported imported = Import(
      "op_name,kernel_source,node_num,hidden_size,num_token,num_topk,num_experts,"
      "combine_avg_t_us,combine_bandwidth_gbps,dispatch_avg_t_us,dispatch_bandwidth_gbps\n"
      "ll,deepep,1,2048,1,8,128,10.459,3.1,8.83,1.9\n",
      "wideep_deepep_ll_perf.csv");
  ASSERT_EQ(imported.rows.size(), 2U);
  EXPECT_EQ(imported.files.front().rows, 2);
  EXPECT_DOUBLE_EQ(imported.rows[0].time_ns, 8830);
  EXPECT_DOUBLE_EQ(imported.rows[1].time_ns, 10459);
}

TEST(Aic, ErrorsNameFileLineAndColumn) {
  const Result<Imported> bad =
      ImportAicTable(test::MoeTable("moe,triton,bfloat16,0,64,64,2,8,1,1,balanced,fast\n"
                                    "moe,triton,bfloat16,4,64,64,9,8,1,1,balanced,1\n"
                                    "moe,triton,bfloat16,4,64,64,2,8,1,3,balanced,1\n"),
                     "moe_perf.csv", test::Target());
  ASSERT_FALSE(bad.ok());
  const std::string text = ToString(bad.errors());
  EXPECT_THAT(text, HasSubstr("moe_perf.csv:2: num_tokens is '0'; allowed: a whole number >= 1"));
  EXPECT_THAT(text, HasSubstr("moe_perf.csv:2: latency is 'fast'; allowed: a number > 0"));
  EXPECT_THAT(text, HasSubstr("moe_perf.csv:3: topk is '9'; allowed: at most num_experts"));
  EXPECT_THAT(text, HasSubstr("moe_perf.csv:4: moe_ep_size is '3'; allowed: a divisor"));
}

TEST(Aic, AMissingColumnIsNamedWithTheNearestOne) {
  const Result<Imported> bad = ImportAicTable("op_name,kernel_source,gemm_dtype,m,n,k,latencys\n",
                                              "gemm_perf.csv", test::Target());
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(ToString(bad.errors()),
              HasSubstr("gemm_perf.csv:1: column 'latency' is missing; did you mean 'latencys'?"));
}

TEST(Aic, AFolderIsReadByEngineWithNcclBesideIt) {
  const moecast::test::TemporaryFolder folder;
  const auto write = [&](const char* path, const std::string& text) {
    const std::filesystem::path file = folder.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  };
  const std::string gemm = "kernel_source,gemm_dtype,m,n,k,latency\nlinear,bfloat16,1,8,8,0.1\n";
  write("vllm/1.0/gemm_perf.csv", gemm);
  write("sglang/2.0/gemm_perf.csv", gemm);
  write("vllm/1.0/strange_perf.csv", "a\n1\n");
  write("nccl/2.2/nccl_perf.txt",
        "op_name,kernel_source,nccl_dtype,num_gpus,message_size,latency\n"
        "all_reduce,NCCL,half,2,64,0.01\n");
  const Result<Imported> imported = ImportAic(folder.path(), test::Target());
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  EXPECT_EQ(imported->rows.size(), 2U);
  EXPECT_THAT(Describe(*imported), HasSubstr("left out 1: no reader for this table"));
  ImportTarget typo = test::Target();
  typo.engine = "vlm-1.0";
  const Result<Imported> none = ImportAic(folder.path(), typo);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(ToString(none.errors()), HasSubstr("did you mean 'vllm-1.0'?"));
  typo.engine.clear();
  EXPECT_THAT(ToString(ImportAic(folder.path(), typo).errors()),
              HasSubstr("--engine says whose tables to read; there are sglang-2.0, vllm-1.0"));
  write("h200/vllm/1.0/gemm_perf.csv", gemm);
  EXPECT_THAT(ToString(ImportAic(folder.path(), test::Target()).errors()),
              HasSubstr("is a second gemm_perf of vllm-1.0 beside "));
}

TEST(Aic, ManyRefusalsAreAHintAtAnotherGpu) {
  const std::string slow = "moe,triton,bfloat16,64,2048,768,8,64,1,1,balanced,0.7\n";
  ImportTarget target = test::Target();
  target.device.hbm_bandwidth = BytesPerSecond(1e12);
  EXPECT_THAT(Describe(*ImportAicTable(test::MoeTable(slow + slow), "moe_perf.csv", target)),
              Not(HasSubstr("warning")));
  target.device.hbm_bandwidth = BytesPerSecond(1e11);
  EXPECT_THAT(Describe(*ImportAicTable(test::MoeTable(slow + slow), "moe_perf.csv", target)),
              HasSubstr("2 rows are faster than the datasheet allows; were they measured on this"));
}

TEST(Aic, RefusesDamagedFiles) {
  for (const std::string& bytes : {std::string("\x1f\x8b\x08\x00garbage", 11),
                                   std::string("\x28\xb5\x2f\xfdgarbage"), std::string()}) {
    EXPECT_FALSE(ImportAicTable(bytes, "gemm_perf.csv", test::Target()).ok());
  }
}

TEST(Aic, ReadsThePublishedTables) {
  const std::filesystem::path folder =
      std::filesystem::path(MOECAST_SHARED_DATA) / "kernels_aic" / "h200_sxm";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
  ImportTarget target = test::Target();
  target.engine = "vllm-0.24.0";
  target.device.hbm_bandwidth = BytesPerSecond(4.8e12);
  target.device.peak = {FlopsPerSecond(989.4e12), FlopsPerSecond(1978.9e12),
                        FlopsPerSecond(1978.9e12), FlopsPerSecond(0)};
  const Result<Imported> imported = ImportAic(folder, target);
  ASSERT_TRUE(imported.ok()) << ToString(imported.errors());
  std::cout << Describe(*imported);
  int64_t rows = 0, accounted = 0;
  for (const FileImport& file : imported->files) {
    rows += file.rows;
    accounted += file.kept;
    for (const auto& [reason, count] : file.left_out) accounted += count;
  }
  EXPECT_EQ(rows, accounted);
  EXPECT_EQ(static_cast<int64_t>(imported->rows.size()), 272928);
  EXPECT_EQ(imported->refused.size(), 589U);
}

}  // namespace
}  // namespace moecast::calibration
