// The public traces, against counts and sums computed from the files by awk and Python.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <numeric>
#include <ostream>
#include <string>

#include "tests/traces/requests/request_files.h"

namespace moecast {
namespace {

struct RealTrace {
  const char* name;
  RequestTraceFormat format;
  const char* file;
  struct Row {
    int64_t arrival_ns, input_tokens, output_tokens;
    friend bool operator==(const Row&, const Row&) = default;
  };
  Row first, last;
  size_t requests;
  int64_t input_sum, output_sum;
  uint64_t hash_count, hash_sum;
};

void PrintTo(const RealTrace& trace, std::ostream* out) { *out << trace.name; }

class RealRequestTrace : public testing::TestWithParam<RealTrace> {};

TEST_P(RealRequestTrace, HasThePublishedRows) {
  const RealTrace& expected = GetParam();
  const auto path = std::filesystem::path(MOECAST_SHARED_DATA) / "requests" / expected.file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no real traces at " << path;
  const auto reading = test::ReadAll(test::Trace(expected.format, path));
  EXPECT_EQ(reading.error, "");
  ASSERT_EQ(reading.requests.size(), expected.requests);
  EXPECT_EQ(reading.notes.rows_read, expected.requests);
  EXPECT_EQ(reading.notes.rows_without_output, 0u);

  const auto row = [](const Request& request) {
    return RealTrace::Row{test::ArrivalNs(request), request.input_tokens, request.output_tokens};
  };
  EXPECT_EQ(row(reading.requests.front()), expected.first);
  EXPECT_EQ(row(reading.requests.back()), expected.last);

  int64_t input_sum = 0;
  int64_t output_sum = 0;
  uint64_t hash_count = 0;
  uint64_t hash_sum = 0;
  for (const Request& request : reading.requests) {
    input_sum += request.input_tokens;
    output_sum += request.output_tokens;
    hash_count += request.prefix_blocks.size();
    hash_sum =
        std::accumulate(request.prefix_blocks.begin(), request.prefix_blocks.end(), hash_sum);
  }
  EXPECT_EQ(input_sum, expected.input_sum);
  EXPECT_EQ(output_sum, expected.output_sum);
  EXPECT_EQ(hash_count, expected.hash_count);
  EXPECT_EQ(hash_sum, expected.hash_sum);
}

const RealTrace kTraces[] = {
    {.name = "AzureCode",
     .format = RequestTraceFormat::kAzureCsv,
     .file = "azure_2023/AzureLLMInferenceTrace_code.csv.zst",
     .first = {0, 4808, 10},
     .last = {3435948056000, 549, 173},
     .requests = 8819,
     .input_sum = 18059974,
     .output_sum = 245896,
     .hash_count = 0,
     .hash_sum = 0},
    {.name = "AzureConversation",
     .format = RequestTraceFormat::kAzureCsv,
     .file = "azure_2023/AzureLLMInferenceTrace_conv.csv.zst",
     .first = {0, 374, 44},
     .last = {3501721937000, 197, 183},
     .requests = 19366,
     .input_sum = 22361870,
     .output_sum = 4088665,
     .hash_count = 0,
     .hash_sum = 0},
    {.name = "MooncakeConversation",
     .format = RequestTraceFormat::kMooncakeJsonl,
     .file = "mooncake/conversation_trace.jsonl.zst",
     .first = {0, 6758, 500},
     .last = {3536999000000, 20774, 508},
     .requests = 12031,
     .input_sum = 144793823,
     .output_sum = 4122048,
     .hash_count = 288500,
     .hash_sum = 23407000830},
    {.name = "MooncakeSynthetic",
     .format = RequestTraceFormat::kMooncakeJsonl,
     .file = "mooncake/synthetic_trace.jsonl.zst",
     .first = {0, 40160, 6},
     .last = {1022025000000, 18440, 83},
     .requests = 3993,
     .input_sum = 61194628,
     .output_sum = 595432,
     .hash_count = 121877,
     .hash_sum = 2510208276},
    {.name = "ShareGpt300",
     .format = RequestTraceFormat::kMoecastCsv,
     .file = "sharegpt300/sharegpt-qwen3-30b-a3b-300-sps10.lengths.csv",
     .first = {46926808, 2361, 532},
     .last = {29183763203, 1168, 583},
     .requests = 300,
     .input_sum = 258691,
     .output_sum = 199486,
     .hash_count = 0,
     .hash_sum = 0},
};

INSTANTIATE_TEST_SUITE_P(Public, RealRequestTrace, testing::ValuesIn(kTraces),
                         [](const auto& trace) { return std::string(trace.param.name); });

}  // namespace
}  // namespace moecast
