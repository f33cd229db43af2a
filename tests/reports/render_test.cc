// The texts of a study: console, JSON, CSV.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <sstream>

#include "reports/console.h"
#include "reports/csv_files.h"
#include "reports/intervals.h"
#include "reports/json_text.h"
#include "reports/summary_json.h"
#include "reports/text_table.h"
#include "tests/reports/hand_made_study.h"

namespace moecast {
namespace {

using test::HandMadeResult;
using test::TinyStudy;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(TextTable, AlignsByCodePointsAndDropsTrailingBlanks) {
  TextTable table;
  table.AddColumn(TextTable::Align::kLeft, {"name"});
  table.AddColumn(TextTable::Align::kRight, {"n"});
  table.AddColumn(TextTable::Align::kLeft, {"remark"});
  table.AddRow({"é", "±1", ""});
  EXPECT_EQ(table.Text(), "name   n  remark\n----------------\né     ±1\n");
}

TEST(Console, PrintsOneRowPerCaseWithRatios) {
  Study study = TinyStudy();
  const std::string text = RenderTable(study, HandMadeResult(study, {{100}, {150}, {200}, {100}}));
  EXPECT_EQ(Lines(text).size(), 3U + 4U + 1U);  // header and rule, cases, gap between loads
  EXPECT_THAT(text, HasSubstr("x1.50"));
  EXPECT_THAT(text, HasSubstr("x0.50"));
  EXPECT_THAT(text, Not(HasSubstr("±")));
}

TEST(Console, PrintsHalfWidthsAndMarksNoiseWithReplications) {
  Study study = TinyStudy();
  const std::string text = RenderTable(
      study, HandMadeResult(study, {{100, 200, 300}, {110, 190, 301}, {1, 1, 1}, {1, 1, 1}}));
  EXPECT_THAT(text, HasSubstr("±248"));
  EXPECT_THAT(text, HasSubstr("~x1.00"));
  EXPECT_THAT(text, HasSubstr("not distinguishable"));
}

TEST(Intervals, LoadsHaveAColumnWhereTheyHaveNames) {
  Study study = TinyStudy();
  CaseFigures figures{.estimates = std::vector<Estimate>(Figures().size())};
  figures.estimates[0].range80 = figures.estimates[0].range95 = Range{1, 2};
  const std::vector<size_t> shown = {0};
  EXPECT_THAT(RenderIntervals(study, {figures}, shown), HasSubstr("load"));
  study.cases[0].load.clear();
  const std::string text = RenderIntervals(study, {figures}, shown);
  EXPECT_THAT(text, AllOf(Not(HasSubstr("load")), HasSubstr("native"), HasSubstr("95 %")));
}

TEST(Console, SaysWhatWasLeftOut) {
  Study study = TinyStudy();
  StudyResult result = HandMadeResult(study, {{100}, {150}, {200}, {100}});
  RunResult& run = result.cases[0].replications[0];
  run.requests.rows_with_prefix = 12;
  run.routing = {.prefill_rows = 60, .decode_rows = 40, .wrapped_rows = 25};
  const std::string text = RenderProvenance(study, result);
  EXPECT_THAT(text, HasSubstr("12 requests carry prefix hashes; prefix caching is not modelled"));
  EXPECT_THAT(text, HasSubstr("25.0 % of replayed token rows lie past the end"));
  EXPECT_THAT(text, HasSubstr("100.0 % analytic"));
}

TEST(SummaryJson, HasTheKeysOfVllmBenchServe) {
  Study study = TinyStudy();
  const StudyResult result = HandMadeResult(study, {{100}, {150}, {200}, {100}});
  const boost::json::value json = CaseSummaryJson(study, result, EstimateFigures(study, result)[0]);
  for (const char* key : {"backend",
                          "label",
                          "model_id",
                          "num_prompts",
                          "request_rate",
                          "burstiness",
                          "max_concurrency",
                          "duration",
                          "completed",
                          "failed",
                          "total_input_tokens",
                          "total_output_tokens",
                          "request_throughput",
                          "output_throughput",
                          "total_token_throughput",
                          "mean_ttft_ms",
                          "median_ttft_ms",
                          "std_ttft_ms",
                          "p99_ttft_ms",
                          "mean_tpot_ms",
                          "p99_tpot_ms",
                          "median_itl_ms",
                          "p99_e2el_ms"}) {
    EXPECT_TRUE(json.as_object().contains(key)) << key;
  }
  EXPECT_EQ(json.at("completed"), 4U);
  EXPECT_EQ(json.at("median_ttft_ms"), 2.0);
  EXPECT_EQ(json.at("request_rate"), 50.0);
}

TEST(JsonText, IsJsonWithShortestNumbersAndNullForNaN) {
  const boost::json::value value{
      {"a", 0.1}, {"b", {1, 2}}, {"c", std::nan("")}, {"d", boost::json::object{}}, {"e", "\"\n"}};
  const std::string text = PrettyJson(value);
  EXPECT_THAT(text, HasSubstr("\"a\": 0.1"));
  EXPECT_THAT(text, HasSubstr("\"c\": null"));
  boost::json::value expected = value;
  expected.at("c") = nullptr;
  EXPECT_EQ(boost::json::parse(text), expected);
}

TEST(CsvFiles, TableHasOneCellPerColumnInEveryRow) {
  Study study = TinyStudy();
  study.cases[1].variant = "with, comma";
  const std::vector<std::string> lines =
      Lines(TableCsv(study, HandMadeResult(study, {{100}, {150}, {200}, {100}})));
  ASSERT_EQ(lines.size(), 5U);
  const auto commas = [](const std::string& s) { return std::count(s.begin(), s.end(), ','); };
  EXPECT_EQ(commas(lines[1]), commas(lines[0]));
  EXPECT_EQ(commas(lines[2]), commas(lines[0]) + 1);
  EXPECT_THAT(lines[2], HasSubstr("\"with, comma\""));
}

TEST(CsvFiles, ExpertsNameLayerRankAndShare) {
  Study study = TinyStudy();
  study.cases[0].scenario.parallelism.expert = 2;
  const StudyResult result = HandMadeResult(study, {{100, 100}, {1}, {1}, {1}});
  const std::vector<std::string> lines =
      Lines(ExpertsCsv(study.cases[0].scenario, result.cases[0]));
  ASSERT_EQ(lines.size(), 9U);
  EXPECT_EQ(lines[0], "moe_layer,layer,expert,rank,assignments,share");
  EXPECT_EQ(lines[1], "0,1,0,0,10,0.625");
  EXPECT_EQ(lines[8], "0,1,7,1,4,0.25");
}

}  // namespace
}  // namespace moecast
