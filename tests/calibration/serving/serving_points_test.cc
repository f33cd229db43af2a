#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "calibration/serving/point_runner.h"
#include "calibration/serving/serving_point.h"
#include "calibration/serving/silicon_table.h"

namespace moecast::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<ServingPoint> Parse(const std::string& text, const std::string& name = "points") {
  Result<std::vector<ServingPoint>> points = ParseServingPoints(text, name);
  EXPECT_TRUE(points.ok()) << ToString(points.errors());
  return points.ok() ? std::move(*points) : std::vector<ServingPoint>(1);
}

TEST(ServingPoints, ReadsBenchServeJson) {
  const ServingPoint point =
      Parse(R"({"max_concurrency": 16, "completed": 100, "total_input_tokens": 51200,
                "total_output_tokens": 12800, "mean_ttft_ms": 80.5, "mean_tpot_ms": 9.25})")
          .front();
  EXPECT_EQ(point.concurrency, 16);
  EXPECT_EQ(point.requests, 100);
  EXPECT_DOUBLE_EQ(point.input_tokens, 512);
  EXPECT_DOUBLE_EQ(point.output_tokens, 128);
  EXPECT_DOUBLE_EQ(*point.ttft_s, 0.0805);
  EXPECT_DOUBLE_EQ(*point.tpot_s, 0.00925);
}

TEST(ServingPoints, ReadsOneObjectPerLine) {
  const std::string line = R"({"max_concurrency": 4, "completed": 10, "total_input_tokens": 100,)"
                           R"( "total_output_tokens": 50, "mean_ttft_ms": 8, "mean_tpot_ms": 9,)"
                           R"( "random_range_ratio": 0.5})";
  const std::vector<ServingPoint> points = Parse(line + "\n" + line + "\n");
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[1].where, "points:2");
  EXPECT_EQ(points[1].length_ratio, 0.5);
}

TEST(ServingPoints, ReadsInferenceXInSecondsWithItsLayout) {
  const ServingPoint point = Parse(R"({"conc": 8, "isl": 1000, "osl": 100, "tp": 4, "ep": 1,
                                       "mean_ttft": 0.05, "mean_tpot": 0.006})")
                                 .front();
  EXPECT_DOUBLE_EQ(point.input_tokens, 900);
  EXPECT_EQ(point.requests, 80);
  EXPECT_DOUBLE_EQ(*point.tpot_s, 0.006);
  EXPECT_THAT(point.overrides,
              ElementsAre("cluster.parallelism.tensor=4", "cluster.parallelism.expert=1"));
}

TEST(ServingPoints, ReadsAiperfByItsUnits) {
  const ServingPoint point = Parse(R"({"input_config": {"loadgen": {"concurrency": 32}},
      "request_count": {"unit": "requests", "avg": 320},
      "input_sequence_length": {"unit": "tokens", "avg": 550},
      "output_sequence_length": {"unit": "tokens", "avg": 150},
      "time_to_first_token": {"unit": "us", "avg": 120000},
      "inter_token_latency": {"unit": "ms", "avg": 7.5}})")
                                 .front();
  EXPECT_EQ(point.concurrency, 32);
  EXPECT_DOUBLE_EQ(*point.ttft_s, 0.12);
  EXPECT_DOUBLE_EQ(*point.tpot_s, 0.0075);
}

TEST(ServingPoints, ReadsACsvWithScenarioFields) {
  const std::vector<ServingPoint> points = Parse(
      "concurrency,input_tokens,output_tokens,ttft_ms,tpot_ms,statistic,set:cluster.gpu\n"
      "4,1024,128,50,,median,H100-SXM\n");
  EXPECT_EQ(points[0].statistic, Statistic::kMedian);
  EXPECT_FALSE(points[0].tpot_s);
  EXPECT_EQ(points[0].observations(), 1);
  EXPECT_THAT(points[0].overrides, ElementsAre("cluster.gpu=H100-SXM"));
}

TEST(ServingPoints, ErrorsNamePlaceFieldValueAndWhatIsAllowed) {
  const auto errors = [](const std::string& text) {
    const Result<std::vector<ServingPoint>> points = ParseServingPoints(text, "f");
    return points.ok() ? std::string("none") : ToString(points.errors());
  };
  EXPECT_THAT(errors("concurrency,input_tokens,output_tokens,tpot_ms\n0,1,1,-3\n"),
              testing::AllOf(HasSubstr("f:2: concurrency is '0'; allowed: a whole number >= 1"),
                             HasSubstr("f:2: tpot_ms is '-3'; allowed: a number > 0")));
  EXPECT_THAT(errors("concurrency,input_tokens,output_tokens,tpot\n"),
              HasSubstr("f:1: unknown column 'tpot'; did you mean 'tpot_ms'?"));
  EXPECT_THAT(errors("concurrency,input_tokens,output_tokens,ttft_ms\n1,1,1,\n"),
              HasSubstr("f:2: neither ttft_ms nor tpot_ms is given"));
  EXPECT_THAT(
      errors(R"({"conc": 8, "isl": 10, "osl": 1, "mean_ttft": "x"})"),
      testing::AllOf(HasSubstr("f: mean_ttft is \"x\""), HasSubstr("f: mean_tpot is missing")));
  EXPECT_THAT(errors(R"({"max_concurrency": null, "completed": 1, "total_input_tokens": 1,
                         "total_output_tokens": 1, "mean_ttft_ms": 1})"),
              HasSubstr("f: max_concurrency is null; allowed: a whole number >= 1"));
  EXPECT_THAT(errors("{\n \"conc\": 8,\n \"isl\" 10}"), HasSubstr("f:3:8: not valid JSON"));
  EXPECT_THAT(errors("{}"), HasSubstr("expected `vllm bench serve` JSON"));
  EXPECT_THAT(errors(" \n"), HasSubstr("is empty"));
  EXPECT_THAT(errors("hello\n"), HasSubstr("expected `vllm bench serve` JSON"));
}

constexpr const char* kSiliconHeader =
    "id,silicon_data_source,backend,backend_version,model_path,system,isl,osl,batch_size,tp_size,"
    "moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms,concurrency,measured\n";

TEST(SiliconTable, ReadsInferenceXLayoutsAsThatManyGpus) {
  const Result<std::vector<SiliconRow>> rows = ParseSiliconTable(
      std::string(kSiliconHeader) +
          "a,source_file=2026-04-06.csv; "
          "x,trtllm,dev,m/x,h200_sxm,1000,1000,8,16,4,4,90,5,8,2025-12\n"
          "b,source_file=Qwen.csv,trtllm,1.0,m/y,h100_sxm,128,128,16,4,2,2,90,5,16,\n",
      "t.csv");
  ASSERT_TRUE(rows.ok()) << ToString(rows.errors());
  EXPECT_EQ((*rows)[0].gpus, 4);
  EXPECT_EQ((*rows)[0].point.length_ratio, 0.8);
  EXPECT_DOUBLE_EQ((*rows)[0].point.input_tokens, 900);
  EXPECT_EQ((*rows)[1].gpus, 4);
  EXPECT_EQ((*rows)[1].point.length_ratio, 1);
  EXPECT_EQ((*rows)[1].engine, "trtllm-1.0");
}

TEST(SiliconTable, RowsOfItsOwnBenchmarksBeginWithAWarmUpAndHaveItsStepLimit) {
  const std::string tail = ",vllm,1.0,m/y,h200_sxm,1000,100,16,4,4,1,90,5,16,\n";
  const Result<std::vector<SiliconRow>> rows =
      ParseSiliconTable(std::string(kSiliconHeader) + "a,source_file=2026-04-06.csv" + tail +
                            "b,source_file=Qwen.csv" + tail,
                        "t.csv");
  ASSERT_TRUE(rows.ok()) << ToString(rows.errors());
  const auto limit = testing::Contains("engine.max_batch_tokens=2516");
  EXPECT_EQ((*rows)[0].point.warmup, 0);
  EXPECT_THAT((*rows)[0].point.overrides, testing::Not(limit));
  EXPECT_EQ((*rows)[1].point.warmup, 32);
  EXPECT_THAT((*rows)[1].point.overrides, limit);
  EXPECT_THAT(WorkloadOverride((*rows)[1].point), HasSubstr("stop: {requests: 192}"));
  EXPECT_THAT(WorkloadOverride((*rows)[1].point), HasSubstr("warmup_requests: 32}"));
}

TEST(SiliconTable, SuspectsRowsWhoseOwnFiguresDisagree) {
  const Result<std::vector<SiliconRow>> rows =
      ParseSiliconTable(std::string(kSiliconHeader) +
                            "a,s,vllm,1,m/x,h100_sxm,1000,1000,512,2,2,1,20000,5,512,\n"
                            "b,s,vllm,1,m/x,h100_sxm,1000,1000,28,4,4,1,300,5,,\n"
                            "c,s,vllm,1,m/x,h100_sxm,1000,1000,28,4,4,1,300,5,28,\n",
                        "t.csv");
  ASSERT_TRUE(rows.ok()) << ToString(rows.errors());
  EXPECT_THAT((*rows)[0].suspect, HasSubstr("waits longer than it decodes"));
  EXPECT_THAT((*rows)[1].suspect, HasSubstr("states no concurrency"));
  EXPECT_EQ((*rows)[1].point.concurrency, 28);
  EXPECT_EQ((*rows)[2].suspect, "");
}

TEST(SiliconTable, ErrorsNameLineAndColumn) {
  const Result<std::vector<SiliconRow>> bad = ParseSiliconTable(
      std::string(kSiliconHeader) + "a,s,vllm,1,m,h100_sxm,x,1,1,1,1,1,1,1,1,\n", "t.csv");
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(ToString(bad.errors()), HasSubstr("t.csv:2: isl is 'x'; allowed: a number > 0"));
  EXPECT_FALSE(ParseSiliconTable("id\n1\n", "t.csv").ok());
}

}  // namespace
}  // namespace moecast::serving
