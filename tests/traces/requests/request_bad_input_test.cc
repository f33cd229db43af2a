// Every way a trace can be wrong has one message: file:line, field, value, what is allowed.
#include <gtest/gtest.h>

#include <limits>
#include <ostream>
#include <string>

#include "tests/traces/requests/request_files.h"

namespace moecast {
namespace {

using test::ReadAll;
using test::Trace;
using test::WriteText;

struct BadTrace {
  const char* name;
  RequestTraceFormat format;
  std::string text;
  std::string message;  // after the path
  size_t requests_before = 0;
};

void PrintTo(const BadTrace& bad, std::ostream* out) { *out << bad.name; }

class BadRequestTrace : public testing::TestWithParam<BadTrace> {};

TEST_P(BadRequestTrace, HasOneClearMessage) {
  const test::TemporaryFolder folder;
  const auto path = WriteText(folder, "trace.txt", GetParam().text);
  const auto reading = ReadAll(Trace(GetParam().format, path));
  EXPECT_EQ(reading.error, path.string() + GetParam().message + "\n");
  EXPECT_EQ(reading.requests.size(), GetParam().requests_before);
}

constexpr auto kOurs = RequestTraceFormat::kMoecastCsv;
const std::string kHeader = "arrival_s,input_tokens,output_tokens\n";
const std::string kSeconds = "; expected a decimal number of seconds from 0 to 4e9";
const std::string kTokens = "; expected a whole number from 1 to 100000000";

const BadTrace kTimes[] = {
    {"NotANumber", kOurs, kHeader + "nan,1,1\n", ":2: arrival_s is 'nan'" + kSeconds},
    {"Infinite", kOurs, kHeader + "inf,1,1\n", ":2: arrival_s is 'inf'" + kSeconds},
    {"Negative", kOurs, kHeader + "0,1,1\n-0.5,1,1\n", ":3: arrival_s is '-0.5'" + kSeconds, 1},
    {"Absent", kOurs, kHeader + ",1,1\n", ":2: arrival_s is ''" + kSeconds},
    {"TooLate", kOurs, kHeader + "4000000001,1,1\n", ":2: arrival_s is '4000000001'" + kSeconds},
    {"Unsorted", kOurs, kHeader + "1,1,1\n2.5,1,1\n2.25,1,1\n",
     ":4: arrives 0.25 s before the row above it; rows must be in order of arrival", 2},
    {"NanosecondsNegative", kOurs, "arrival_ns,input_tokens,output_tokens\n-3,1,1\n",
     ":2: arrival_ns is '-3'; expected a number of nanoseconds from 0 to 4e18"},
    {"AzureNoDate", RequestTraceFormat::kAzureCsv,
     "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-30 00:00:00,1,1\n",
     ":2: TIMESTAMP is '2023-02-30 00:00:00'; expected a time such as 2023-11-16 18:17:03.9799600, "
     "years 1970 to 2261"},
    {"AzureUnsorted", RequestTraceFormat::kAzureCsv,
     "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-03 00:00:02,1,1\n2023-02-03 00:00:01,1,1\n",
     ":3: arrives 1 s before the row above it; rows must be in order of arrival", 1},
    {"AzureTooLong", RequestTraceFormat::kAzureCsv,
     "TIMESTAMP,ContextTokens,GeneratedTokens\n1970-01-01 00:00:00,1,1\n2200-01-01 00:00:00,1,1\n",
     ":3: arrives more than 4e9 s after time 0, speedup 1 applied", 1},
};

const BadTrace kCounts[] = {
    {"ZeroInput", kOurs, kHeader + "0,0,1\n", ":2: input_tokens is '0'" + kTokens},
    {"ZeroOutput", kOurs, kHeader + "0,1,0\n", ":2: output_tokens is '0'" + kTokens},
    {"NegativeTokens", kOurs, kHeader + "0,-5,1\n", ":2: input_tokens is '-5'" + kTokens},
    {"FractionOfAToken", kOurs, kHeader + "0,1.5,1\n", ":2: input_tokens is '1.5'" + kTokens},
    {"TooManyTokens", kOurs, kHeader + "0,1,100000001\n",
     ":2: output_tokens is '100000001'" + kTokens},
    {"Word", kOurs, kHeader + "0,many,1\n", ":2: input_tokens is 'many'" + kTokens},
    {"ZeroByte", kOurs, kHeader + std::string("0,1\0,1\n", 7),
     ":2: input_tokens is '1\\x00'" + kTokens},
    {"BurstGptZeroInput", RequestTraceFormat::kBurstGptCsv,
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,M,0,5,5,L\n",
     ":2: Request tokens is '0'" + kTokens},
    {"BurstGptNegativeOutput", RequestTraceFormat::kBurstGptCsv,
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,M,3,-5,5,L\n",
     ":2: Response tokens is '-5'; expected a whole number from 0 to 100000000"},
    {"VidurRatio", RequestTraceFormat::kVidurCsv,
     "arrived_at,num_total_tokens,pd_ratio\n0,10,nan\n",
     ":2: pd_ratio is 'nan'; expected a ratio above 0 that leaves at least one input and one "
     "output "
     "token of 10"},
    {"VidurRatioLeavesNoOutput", RequestTraceFormat::kVidurCsv,
     "arrived_at,num_total_tokens,pd_ratio\n0,10,30\n",
     ":2: pd_ratio is '30'; expected a ratio above 0 that leaves at least one input and one output "
     "token of 10"},
    {"VidurTotal", RequestTraceFormat::kVidurCsv, "arrived_at,num_total_tokens,pd_ratio\n0,1,1\n",
     ":2: num_total_tokens is '1'; expected a whole number from 2 to 100000000"},
};

const BadTrace kShapes[] = {
    {"Empty", kOurs, "", ": the file is empty; expected a header row"},
    {"HeaderOnly", kOurs, kHeader, ": has no request with output; expected at least one"},
    {"OnlyFailed", RequestTraceFormat::kBurstGptCsv,
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,M,3,0,3,L\n",
     ": has no request with output; expected at least one"},
    {"MissingColumn", RequestTraceFormat::kAzureCsv, "TIMESTAMP,ContextTokens\n",
     ":1: no column 'GeneratedTokens'; an Azure LLM trace may have TIMESTAMP, ContextTokens, "
     "GeneratedTokens"},
    {"MissingArrival", kOurs, "input_tokens,output_tokens\n1,1\n",
     ":1: no column 'arrival_s' or 'arrival_ns' or 'arrival_time_ns'; a moecast trace may have "
     "arrival_s, arrival_ns, arrival_time_ns, input_tokens, input_toks, output_tokens, "
     "output_toks"},
    {"ExtraColumn", RequestTraceFormat::kAzureCsv, "TIMESTAMP,ContextTokens,GeneratedTokens,User\n",
     ":1: unknown column 'User'; an Azure LLM trace may have TIMESTAMP, ContextTokens, "
     "GeneratedTokens"},
    {"MisspeltColumn", RequestTraceFormat::kAzureCsv, "TIMESTAMP,ContextToken,GeneratedTokens\n",
     ":1: unknown column 'ContextToken'; did you mean 'ContextTokens'?; an Azure LLM trace may "
     "have "
     "TIMESTAMP, ContextTokens, GeneratedTokens"},
    {"DoubledColumn", kOurs, "arrival_s,input_tokens,output_tokens,arrival_s\n",
     ":1: column 'arrival_s' appears twice"},
    {"TwoColumnsForOneField", kOurs, "arrival_s,input_tokens,output_tokens,arrival_ns\n",
     ":1: columns 'arrival_s' and 'arrival_ns' tell the same; keep one"},
    {"ManyColumns", kOurs, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\n",
     ":1: header has 17 columns; at most 16 are allowed"},
    {"TruncatedRow", kOurs, kHeader + "0,1,1\n1,1", ":3: row has 2 fields; the header has 3", 1},
    {"OneField", kOurs, kHeader + "0\n", ":2: row has 1 field; the header has 3"},
    {"ExtraField", kOurs, kHeader + "0,1,1,9\n", ":2: row has 4 fields; the header has 3"},
    {"OpenQuote", kOurs, kHeader + "\"0,1,1\n", ":2: row has 1 field; the header has 3"},
    {"BlankLine", kOurs, kHeader + "0,1,1\n\n1,1,1\n", ":3: blank line between rows", 1},
    {"NotUtf8", kOurs, kHeader + "0,1,1\xff\n", ":2: byte 6 of the line, '\\xff', is not UTF-8"},
    {"HugeLine", kOurs, kHeader + std::string(2 << 20, '1') + "\n",
     ":2: line is longer than 1048576 bytes"},
    {"TruncatedZstandard", kOurs, test::ZstdFrame(kHeader + "0,1,1\n").substr(0, 20),
     ":1: Zstandard data is truncated: the file ends inside a frame"},
};

std::string Json(const std::string& line) {
  return R"({"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]})"
         "\n" +
         line + "\n";
}
const std::string kMembers = "timestamp, input_length, output_length, hash_ids";
constexpr auto kMooncake = RequestTraceFormat::kMooncakeJsonl;

const BadTrace kJson[] = {
    {"NegativeTime", kMooncake, Json(R"({"timestamp": -1, "input_length": 5, "output_length": 1})"),
     ":2: timestamp is '-1'; expected a number of milliseconds from 0 to 4e12", 1},
    {"LateTime", kMooncake, Json(R"({"timestamp": 4e13, "input_length": 5, "output_length": 1})"),
     ":2: timestamp is '4e13'; expected a number of milliseconds from 0 to 4e12", 1},
    {"TextTime", kMooncake, Json(R"({"timestamp": "7", "input_length": 5, "output_length": 1})"),
     ":2: timestamp is '7'; expected a number of milliseconds from 0 to 4e12", 1},
    {"Nan", kMooncake, Json(R"({"timestamp": NaN, "input_length": 5, "output_length": 1})"),
     ":2: not valid JSON at byte 15: syntax error", 1},
    {"Unsorted", kMooncake,
     Json(R"({"timestamp": 7, "input_length": 5, "output_length": 1})") +
         R"({"timestamp": 6, "input_length": 5, "output_length": 1})",
     ":3: arrives 0.001 s before the row above it; rows must be in order of arrival", 2},
    {"ZeroInput", kMooncake, Json(R"({"timestamp": 0, "input_length": 0, "output_length": 1})"),
     ":2: input_length is '0'" + kTokens, 1},
    {"ZeroOutput", kMooncake, Json(R"({"timestamp": 0, "input_length": 3, "output_length": 0})"),
     ":2: output_length is '0'" + kTokens, 1},
    {"TooMany", kMooncake, Json(R"({"timestamp": 0, "input_length": 3, "output_length": 1e9})"),
     ":2: output_length is '1e9'" + kTokens, 1},
    {"NullLength", kMooncake, Json(R"({"timestamp": 0, "input_length": null, "output_length": 0})"),
     ":2: input_length is 'null'" + kTokens, 1},
    {"TrueLength", kMooncake, Json(R"({"timestamp": 0, "input_length": true, "output_length": 0})"),
     ":2: input_length is 'true'" + kTokens, 1},
    {"ArrayLength", kMooncake, Json(R"({"timestamp": 0, "input_length": [5], "output_length": 0})"),
     ":2: input_length is '[...]'" + kTokens, 1},
    {"NegativeHash", kMooncake,
     Json(R"({"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [4, -2]})"),
     ":2: hash_ids is '-2'; expected an array of whole numbers from 0 to 2^64-1", 1},
    {"FractionHash", kMooncake,
     Json(R"({"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [4.5]})"),
     ":2: hash_ids is '4.5'; expected an array of whole numbers from 0 to 2^64-1", 1},
    {"HugeHash", kMooncake,
     Json(
         R"({"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [18446744073709551616]})"),
     ":2: hash_ids is '18446744073709551616'; expected an array of whole numbers from 0 to 2^64-1",
     1},
    {"NestedHashes", kMooncake,
     Json(R"({"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [[4]]})"),
     ":2: hash_ids is '[...]'; expected an array of whole numbers from 0 to 2^64-1", 1},
    {"HashesNoArray", kMooncake,
     Json(R"({"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": 4})"),
     ":2: hash_ids is '4'; expected an array of whole numbers from 0 to 2^64-1", 1},
    {"TooManyHashes", kMooncake,
     Json(R"({"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [4, 5]})"),
     ":2: hash_ids has 2 blocks; input_length 512 fills 1 of 512 tokens", 1},
    {"MissingMember", kMooncake, Json(R"({"timestamp": 0, "input_length": 5})"),
     ":2: no member 'output_length'; a Mooncake line has " + kMembers, 1},
    {"UnknownMember", kMooncake, Json(R"({"timestamp": 0, "input_lenght": 5, "output_length": 1})"),
     ":2: unknown member 'input_lenght'; did you mean 'input_length'?; a Mooncake line may have " +
         kMembers,
     1},
    {"DoubledMember", kMooncake, Json(R"({"timestamp": 0, "timestamp": 5, "output_length": 1})"),
     ":2: member 'timestamp' appears twice", 1},
    {"NestedObject", kMooncake, Json(R"({"timestamp": {"ms": 4}})"),
     ":2: timestamp is '{...}'; expected a number of milliseconds from 0 to 4e12", 1},
    {"Array", kMooncake, Json("[1, 2]"), ":2: expected a JSON object, {...}, on every line", 1},
    {"Number", kMooncake, Json("17"), ":2: expected a JSON object, {...}, on every line", 1},
    {"Truncated", kMooncake, Json(R"({"timestamp": 0, "input_len)"),
     ":2: not valid JSON at byte 28: incomplete JSON", 1},
    {"TwoObjects", kMooncake, Json(R"({"timestamp": 0, "input_length": 5, "output_length": 1} {})"),
     ":2: not valid JSON at byte 57: extra data", 1},
    {"Csv", kMooncake, kHeader + "0,1,1\n", ":1: not valid JSON at byte 1: syntax error"},
    {"EmptyFile", kMooncake, "", ": has no request with output; expected at least one"},
    {"NotUtf8", kMooncake, Json("{\"timestamp\xc0\": 0}"),
     ":2: byte 12 of the line, '\\xc0', is not UTF-8", 1},
};

std::string NameOf(const testing::TestParamInfo<BadTrace>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Times, BadRequestTrace, testing::ValuesIn(kTimes), NameOf);
INSTANTIATE_TEST_SUITE_P(Counts, BadRequestTrace, testing::ValuesIn(kCounts), NameOf);
INSTANTIATE_TEST_SUITE_P(Shapes, BadRequestTrace, testing::ValuesIn(kShapes), NameOf);
INSTANTIATE_TEST_SUITE_P(Json, BadRequestTrace, testing::ValuesIn(kJson), NameOf);

TEST(BadWorkload, MissingFileSaysSo) {
  const test::TemporaryFolder folder;
  for (const auto format : {RequestTraceFormat::kMoecastCsv, RequestTraceFormat::kMooncakeJsonl}) {
    EXPECT_EQ(ReadAll(Trace(format, folder / "none.csv")).error,
              (folder / "none.csv").string() + ": cannot be opened: No such file or directory\n");
  }
}

std::string ErrorsOf(const WorkloadSpec& spec) {
  const auto source = RequestSource::Open(spec, Seed{});
  return source.ok() ? "" : ToString(source.errors());
}

TEST(BadWorkload, TraceOptionsAreChecked) {
  TraceWorkload workload;
  workload.speedup = 0;
  workload.closed_concurrency = 0;
  workload.prefix_block_tokens = 0;
  EXPECT_EQ(ErrorsOf(workload),
            "speedup: is 0; expected a finite number above 0\n"
            "closed_concurrency: is 0; expected a whole number of at least 1\n"
            "prefix_block_tokens: is 0; expected a whole number from 1 to 100000000\n");
}

TEST(BadWorkload, EveryArrivalParameterIsChecked) {
  const Length one = FixedLength{1};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string rate = "; expected a number above 0 up to 1000000000\n";
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{PoissonArrivals{nan}, one, one}),
            "arrivals.rate_per_s: is nan" + rate);
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{FixedRateArrivals{-1}, one, one}),
            "arrivals.rate_per_s: is -1" + rate);
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{GammaArrivals{2e9, 0}, one, one}),
            "arrivals.rate_per_s: is 2000000000" + rate +
                "arrivals.cv: is 0; expected a number above 0 up to 100\n");
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{OnOffArrivals{0, -1, 0, nan}, one, one}),
            "arrivals.on_rate_per_s: is 0" + rate +
                "arrivals.off_rate_per_s: is -1; expected a number from 0 to 1000000000\n"
                "arrivals.on_s: is 0; expected a number from 1e-09 to 4000000000\n"
                "arrivals.off_s: is nan; expected a number from 1e-09 to 4000000000\n");
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{ClosedLoop{0}, one, one}),
            "arrivals.concurrency: is 0; expected a whole number of at least 1\n");
}

TEST(BadWorkload, EveryLengthParameterIsChecked) {
  const Arrivals arrivals = PoissonArrivals{1};
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{arrivals, FixedLength{0}, FixedLength{100000001}}),
            "input.tokens: is 0; expected a whole number from 1 to 100000000\n"
            "output.tokens: is 100000001; expected a whole number from 1 to 100000000\n");
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{arrivals, UniformLength{0, 0}, UniformLength{5, 4}}),
            "input.min_tokens: is 0; expected a whole number from 1 to 100000000\n"
            "input.max_tokens: is 0; expected a whole number from 1 to 100000000\n"
            "output.max_tokens: is 4; expected a whole number from 5 to 100000000\n");
  EXPECT_EQ(ErrorsOf(SyntheticWorkload{arrivals, LognormalLength{0, -1, 1, 9}, FixedLength{1}}),
            "input.mean_tokens: is 0; expected a number above 0 up to 100000000\n"
            "input.cv: is -1; expected a number from 0 to 100\n");
}

TEST(BadWorkload, EmpiricalFilesAreCheckedLikeTraces) {
  const test::TemporaryFolder folder;
  const auto path = WriteText(folder, "a.csv", "input_tokens,output_tokens\n1,0\n");
  const SyntheticWorkload zero{PoissonArrivals{1}, EmpiricalLength{path}, FixedLength{1}};
  EXPECT_EQ(ErrorsOf(zero), path.string() + ":2: output_tokens is '0'" + kTokens + "\n");
  WriteText(folder, "a.csv", "input_tokens,output_tokens\n");
  EXPECT_EQ(ErrorsOf(zero), path.string() + ": has no rows; expected at least one request\n");
  WriteText(folder, "a.csv", "input_token,output_tokens\n1,1\n");
  EXPECT_EQ(
      ErrorsOf(zero),
      path.string() +
          ":1: unknown column 'input_token'; did you mean 'input_tokens'?; a moecast trace may "
          "have arrival_s, arrival_ns, arrival_time_ns, input_tokens, input_toks, "
          "output_tokens, output_toks\n");
}

}  // namespace
}  // namespace moecast
