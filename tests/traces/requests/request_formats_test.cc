#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/traces/requests/request_files.h"
#include "traces/request_source.h"

namespace moecast {
namespace {

using test::ArrivalNs;
using test::ReadAll;
using test::Reading;
using test::Trace;
using test::WriteText;

class RequestFormats : public testing::Test {
 protected:
  Reading Read(RequestTraceFormat format, std::string_view text) {
    return ReadAll(Trace(format, WriteText(folder_, "trace", text)));
  }
  // "arrival_ns input output" of every request, one a line; the error last.
  std::string Rows(RequestTraceFormat format, std::string_view text) {
    const Reading reading = Read(format, text);
    std::string rows;
    for (const Request& request : reading.requests) {
      rows += std::to_string(ArrivalNs(request)) + " " + std::to_string(request.input_tokens) +
              " " + std::to_string(request.output_tokens) + "\n";
    }
    return rows + reading.error;
  }
  test::TemporaryFolder folder_;
};

TEST_F(RequestFormats, AzureTimesCountFromTheFirstRow) {
  EXPECT_EQ(Rows(RequestTraceFormat::kAzureCsv,
                 "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                 "2023-11-16 23:59:59.9999999,4808,10\r\n"
                 "2023-11-17 00:00:00.0000001,3180,8"),
            "0 4808 10\n200 3180 8\n");
}

TEST_F(RequestFormats, AzureTimesMayHaveAZone) {
  EXPECT_EQ(Rows(RequestTraceFormat::kAzureCsv,
                 "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                 "2024-05-12 00:00:00.009930+00:00,1,2\n2024-05-12 00:00:01+00:00,3,4\n"),
            "0 1 2\n990070000 3 4\n");
}

TEST_F(RequestFormats, BurstGptSixColumnsSkipFailedRequests) {
  const auto reading = Read(RequestTraceFormat::kBurstGptCsv,
                            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                            "5,ChatGPT,472,18,490,Conversation log\n"
                            "45,ChatGPT,1087,0,1087,Conversation log\n"
                            "46,GPT-4,0,0,0,API log\n"
                            "118,GPT-4,417,276,693,Conversation log\n");
  EXPECT_EQ(reading.error, "");
  ASSERT_EQ(reading.requests.size(), 2u);
  EXPECT_EQ(ArrivalNs(reading.requests[1]), 113'000'000'000);
  EXPECT_EQ(reading.requests[1].id, RequestId(1));
  EXPECT_EQ(reading.requests[1].input_tokens, 417);
  EXPECT_EQ(reading.notes.rows_read, 4u);
  EXPECT_EQ(reading.notes.rows_without_output, 2u);
}

TEST_F(RequestFormats, BurstGptEightColumns) {
  EXPECT_EQ(Rows(RequestTraceFormat::kBurstGptCsv,
                 "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,"
                 "Total tokens,Log Type\n"
                 "19440110.0,1722ac82-0a46,43,GPT-4,906,446,1352,Conversation log\n"
                 "19440161.5,\"d5983bf9, \"\"quoted\"\"\",2,ChatGPT,36,29,65,\xc3\xa9\n"),
            "0 906 446\n51500000000 36 29\n");
}

TEST_F(RequestFormats, VidurCountsOrTotalAndRatio) {
  EXPECT_EQ(Rows(RequestTraceFormat::kVidurCsv,
                 "arrived_at,num_prefill_tokens,num_decode_tokens\n"
                 "0.0,374,44\n5.8926549999999995,91,16\n9.5e+01,1.0,2.0\n"),
            "0 374 44\n5892655000 91 16\n95000000000 1 2\n");
  EXPECT_EQ(Rows(RequestTraceFormat::kVidurCsv,
                 "arrived_at,num_total_tokens,pd_ratio\n0,31,9.333333333333334\n1,31,9.3333333333\n"
                 "2,4,3\n"),
            "0 28 3\n1000000000 28 3\n2000000000 3 1\n");
}

TEST_F(RequestFormats, VidurRatioGivesBackTheCountsItCameFrom) {
  std::string text = "arrived_at,num_total_tokens,pd_ratio\n";
  std::string expected;
  for (int64_t input = 1; input < 3000; input += 37) {
    for (int64_t output = 1; output < 3000; output += 41) {
      char row[64];
      std::snprintf(row, sizeof row, "0,%ld,%.10g\n", input + output,
                    static_cast<double>(input) / static_cast<double>(output));
      text += row;
      expected += "0 " + std::to_string(input) + " " + std::to_string(output) + "\n";
    }
  }
  EXPECT_EQ(Rows(RequestTraceFormat::kVidurCsv, text), expected);
}

TEST_F(RequestFormats, VidurCountsWinOverTotals) {
  EXPECT_EQ(Rows(RequestTraceFormat::kVidurCsv,
                 "arrived_at,num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n"
                 "1,30,10,41,99\n"),
            "1000000000 30 10\n");
}

TEST_F(RequestFormats, OursInAnyOrderSecondsOrNanoseconds) {
  EXPECT_EQ(Rows(RequestTraceFormat::kMoecastCsv,
                 "arrival_s,input_tokens,output_tokens\n0.000000001,1,2\n1.5,3,4\n1.5,5,6\n"),
            "1 1 2\n1500000000 3 4\n1500000000 5 6\n");
  EXPECT_EQ(Rows(RequestTraceFormat::kMoecastCsv,
                 "output_tokens, arrival_ns ,input_tokens\n2, 46926808 ,1\n4,46926809,3\n"),
            "46926808 1 2\n46926809 3 4\n");
  EXPECT_EQ(Rows(RequestTraceFormat::kMoecastCsv,
                 "arrival_time_ns,input_toks,output_toks\n46926808,2361,532\n"),
            "46926808 2361 532\n");
}

TEST_F(RequestFormats, MooncakeKeepsBlockHashes) {
  const auto reading = Read(
      RequestTraceFormat::kMooncakeJsonl,
      R"({"timestamp": 0, "input_length": 1024, "output_length": 500, "hash_ids": [46, 18446744073709551615]}
{"hash_ids":[],"output_length":2,"input_length":1,"timestamp":27.0000005}
{"timestamp": 3.5e4, "input_length": 7, "output_length": 1}
)");
  EXPECT_EQ(reading.error, "");
  ASSERT_EQ(reading.requests.size(), 3u);
  EXPECT_EQ(reading.requests[0].prefix_blocks, (std::vector<uint64_t>{46, 18446744073709551615u}));
  EXPECT_EQ(reading.requests[0].prefix_block_tokens, 512);
  EXPECT_TRUE(reading.requests[1].prefix_blocks.empty());
  EXPECT_EQ(reading.requests[1].prefix_block_tokens, 0);
  EXPECT_EQ(ArrivalNs(reading.requests[1]), 27'000'001);  // half a nanosecond, up
  EXPECT_EQ(ArrivalNs(reading.requests[2]), 35'000'000'000);
  EXPECT_EQ(reading.notes.rows_with_prefix, 1u);
}

TEST_F(RequestFormats, MooncakeBlockSizeIsChecked) {
  auto workload =
      Trace(RequestTraceFormat::kMooncakeJsonl,
            WriteText(folder_, "trace",
                      R"({"timestamp":0,"input_length":33,"output_length":1,"hash_ids":[1,2,3]})"));
  workload.prefix_block_tokens = 16;
  EXPECT_EQ(ReadAll(workload).requests.at(0).prefix_block_tokens, 16);
  workload.prefix_block_tokens = 17;
  EXPECT_EQ(
      ReadAll(workload).error,
      workload.path.string() + ":1: hash_ids has 3 blocks; input_length 33 fills 2 of 17 tokens\n");
}

TEST_F(RequestFormats, ClosedLoopNeedsNoArrivals) {
  auto workload =
      Trace(RequestTraceFormat::kVidurCsv,
            WriteText(folder_, "trace", "num_prefill_tokens,num_decode_tokens\n3,4\n5,6\n"));
  EXPECT_NE(ReadAll(workload).error, "");
  workload.closed_concurrency = 7;
  const auto reading = ReadAll(workload);
  EXPECT_EQ(reading.error, "");
  ASSERT_EQ(reading.requests.size(), 2u);
  EXPECT_EQ(reading.requests[1].output_tokens, 6);
  EXPECT_EQ(RequestSource::Open(workload, Seed{})->closed_concurrency(), 7);
}

TEST_F(RequestFormats, ClosedLoopIgnoresArrivalTimesButChecksThem) {
  auto workload = Trace(
      RequestTraceFormat::kMoecastCsv,
      WriteText(folder_, "trace", "arrival_s,input_tokens,output_tokens\n1,1,1\n9,1,1\n3,1,1\n"));
  workload.closed_concurrency = 1;
  const auto reading = ReadAll(workload);
  ASSERT_EQ(reading.requests.size(), 2u);
  EXPECT_EQ(ArrivalNs(reading.requests[1]), 0);
  EXPECT_NE(reading.error, "");
}

TEST_F(RequestFormats, SpeedupDividesTimesAndKeepsOrder) {
  auto workload =
      Trace(RequestTraceFormat::kMoecastCsv,
            WriteText(folder_, "trace", "arrival_ns,input_tokens,output_tokens\n3,1,1\n10,1,1\n"));
  workload.speedup = 4;
  auto reading = ReadAll(workload);
  ASSERT_EQ(reading.requests.size(), 2u);
  EXPECT_EQ(ArrivalNs(reading.requests[0]), 1);  // 0.75
  EXPECT_EQ(ArrivalNs(reading.requests[1]), 3);  // 2.5
  workload.speedup = 0.5;
  reading = ReadAll(workload);
  EXPECT_EQ(ArrivalNs(reading.requests[1]), 20);
}

}  // namespace
}  // namespace moecast
