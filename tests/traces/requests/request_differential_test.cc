// The readers against a naive loader: whole file in memory, std::getline, iostream extraction.
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/support/property.h"
#include "tests/traces/requests/request_files.h"

namespace moecast {
namespace {

struct Row {
  int64_t arrival_ns = 0;
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  std::vector<uint64_t> hashes;
  friend bool operator==(const Row&, const Row&) = default;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.arrival_ns << " " << row.input_tokens << " " << row.output_tokens << " +"
       << row.hashes.size();
}

std::vector<Row> RowsOf(const test::Reading& reading) {
  std::vector<Row> rows;
  for (const Request& request : reading.requests) {
    rows.push_back({.arrival_ns = test::ArrivalNs(request),
                    .input_tokens = request.input_tokens,
                    .output_tokens = request.output_tokens,
                    .hashes = request.prefix_blocks});
  }
  return rows;
}

// Rows in order of time, with whole microseconds so that a long double seconds value is exact
// enough.
std::vector<Row> RandomRows(RngStream& rng, bool with_hashes) {
  std::vector<Row> rows(1 + rng.NextBelow(2000));
  int64_t now_us = 0;
  for (Row& row : rows) {
    now_us += rng.NextBelow(3) == 0 ? 0 : static_cast<int64_t>(rng.NextBelow(5'000'000));
    row.arrival_ns = now_us * 1000;
    row.input_tokens =
        1 + static_cast<int64_t>(rng.NextBelow(rng.NextBelow(2) == 0 ? 10 : 100'000));
    row.output_tokens = 1 + static_cast<int64_t>(rng.NextBelow(3000));
    const auto blocks = static_cast<uint64_t>((row.input_tokens + 511) / 512);
    if (with_hashes) row.hashes.resize(rng.NextBelow(blocks + 1));
    for (uint64_t& hash : row.hashes) hash = rng.NextU64() >> rng.NextBelow(64);
  }
  return rows;
}

std::string SecondsText(int64_t ns, RngStream& rng) {
  std::string digits = std::to_string(ns % 1'000'000'000);
  digits = std::string(9 - digits.size(), '0') + digits;
  const std::string whole = std::to_string(ns / 1'000'000'000);
  if (rng.NextBelow(2) == 0) return whole + "." + digits;
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  return whole + "." + digits;
}

// arrival,input,output
std::vector<Row> LoadCsvNaively(const std::string& text) {
  std::istringstream in(text);
  std::string line;
  std::getline(in, line);
  std::vector<Row> rows;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    long double seconds = 0;
    char comma = 0;
    Row row;
    fields >> seconds >> comma >> row.input_tokens >> comma >> row.output_tokens;
    row.arrival_ns = static_cast<int64_t>(seconds * 1e9L + 0.5L);
    rows.push_back(row);
  }
  return rows;
}

TEST(RequestReadersDifferential, CsvEqualsANaiveLoader) {
  const test::TemporaryFolder folder;
  test::ForAll("differential/csv", {.cases = 40}, [&](RngStream& rng) {
    const std::string end = rng.NextBelow(2) == 0 ? "\n" : "\r\n";
    std::string text = "arrival_s,input_tokens,output_tokens" + end;
    const auto rows = RandomRows(rng, false);
    for (const Row& row : rows) {
      text += SecondsText(row.arrival_ns, rng) + "," + std::to_string(row.input_tokens) + "," +
              std::to_string(row.output_tokens) + end;
    }
    ASSERT_EQ(LoadCsvNaively(text), rows);
    const bool packed = rng.NextBelow(2) == 0;
    const auto path = test::WriteText(folder, packed ? "a.csv.zst" : "a.csv",
                                      packed ? test::ZstdFrame(text) : text);
    const auto reading = test::ReadAll(test::Trace(RequestTraceFormat::kMoecastCsv, path));
    EXPECT_EQ(reading.error, "");
    EXPECT_EQ(RowsOf(reading), rows);
  });
}

TEST(RequestReadersDifferential, JsonlGivesBackWhatWasWritten) {
  const test::TemporaryFolder folder;
  test::ForAll("differential/jsonl", {.cases = 20}, [&](RngStream& rng) {
    const auto rows = RandomRows(rng, true);
    std::string text;
    for (const Row& row : rows) {
      std::vector<std::string> members = {
          "\"timestamp\": " + std::to_string(row.arrival_ns / 1'000'000) + "." +
              std::to_string(1000 + row.arrival_ns / 1000 % 1000).substr(1),
          "\"input_length\":" + std::to_string(row.input_tokens),
          "\"output_length\" : " + std::to_string(row.output_tokens)};
      std::string hashes = "\"hash_ids\": [";
      for (size_t i = 0; i < row.hashes.size(); ++i) {
        hashes += (i == 0                  ? ""
                   : rng.NextBelow(2) == 0 ? ","
                                           : " , ") +
                  std::to_string(row.hashes[i]);
      }
      members.push_back(hashes + "]");
      for (size_t i = members.size(); i > 1; --i)
        std::swap(members[i - 1], members[rng.NextBelow(i)]);
      text += "{" + members[0] + ", " + members[1] + "," + members[2] + " ," + members[3] + "}\n";
    }
    const auto path = test::WriteText(folder, "a.jsonl", text);
    const auto reading = test::ReadAll(test::Trace(RequestTraceFormat::kMooncakeJsonl, path));
    EXPECT_EQ(reading.error, "");
    EXPECT_EQ(RowsOf(reading), rows);
  });
}

TEST(RequestReadersDifferential, RandomBytesNeverPassForRows) {
  const test::TemporaryFolder folder;
  test::ForAll("differential/noise", {.cases = 300}, [&](RngStream& rng) {
    std::string text = rng.NextBelow(2) == 0 ? "arrival_s,input_tokens,output_tokens\n1,2,3\n" : "";
    for (uint64_t left = 1 + rng.NextBelow(200); left > 0; --left) {
      text += static_cast<char>(1 + rng.NextBelow(255));
    }
    text += "\x01";  // no format allows it, so the text cannot be right by luck
    const auto format = static_cast<RequestTraceFormat>(rng.NextBelow(5));
    EXPECT_NE(test::ReadAll(test::Trace(format, test::WriteText(folder, "a", text))).error, "");
  });
}

}  // namespace
}  // namespace moecast
