#include "calibration/measurement_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "calibration/calibrate.h"
#include "sim/base/files.h"
#include "tests/calibration/synthetic_rows.h"

namespace moecast::calibration {
namespace {

using testing::HasSubstr;

constexpr const char* kEnvironment =
    "card: h200_sxm\ndatasheet_hbm_bytes_per_s: 4800000000000\n"
    "datasheet_bf16_flop_per_s: 989400000000000\nmultiprocessors: 132\nl2_bytes: 62914560\n"
    "weights: cold: rotate\n";

std::string ErrorOf(const std::string& csv) {
  Measurements into;
  const Status status = ParseSuite(csv, "a.csv", into);
  return status.ok() ? "" : ToString(status.errors());
}

TEST(Suite, ColumnsNamedAfterFeaturesAreRead) {
  Measurements into;
  into.card.gpu = "h200_sxm";
  ASSERT_TRUE(ParseSuite("op,tokens,n,k,bytes,flops,median_ms,format,mood\n"
                         "gemm,8,1024,2048,5000000,1000,0.25,fp8,calm\n",
                         "a.csv", into)
                  .ok());
  ASSERT_EQ(into.rows.size(), 1U);
  EXPECT_EQ(into.rows[0].time_ns, 0.25e6);
  EXPECT_EQ(into.rows[0].features[Feature::kN], 1024);
  EXPECT_EQ(into.rows[0].format, "fp8");
  EXPECT_EQ(into.rows[0].source.Text(), "a.csv:2");
  EXPECT_THAT(into.ignored_columns, testing::ElementsAre("mood"));
}

TEST(Suite, RoutingIsAKernelPerRuleAndAFixedNumberOfExpertsIsNative) {
  Measurements into;
  const std::string rows =
      "op,rule,tokens,bytes,flops,median_us\n"
      "route,native,8,1,1,5\nroute,uniform k=4,8,1,1,5\nroute,top-p 0.7,8,1,1,6\n"
      "route,xshare 32,8,1,1,9\ncombine,top-p 0.7,8,1,1,2\n";
  ASSERT_TRUE(ParseSuite(rows, "a.csv", into).ok());
  std::vector<std::string> variants;
  for (const KernelRow& row : into.rows) variants.push_back(row.variant);
  EXPECT_THAT(variants, testing::ElementsAre("native", "native", "top_p", "xshare", ""));
  EXPECT_EQ(into.rows.back().rule, "top_p");
}

TEST(Suite, ATimeWithoutAUnitIsRefused) {
  EXPECT_THAT(ErrorOf("op,bytes,flops,median\ngemm,1,1,5\n"),
              HasSubstr("a.csv:1: time column 'median' has no unit; allowed: median_ns"));
}

TEST(Suite, MissingColumnsAreNamedWithTheNearestOne) {
  EXPECT_THAT(ErrorOf("op,byte,flops,median_us\ngemm,1,1,5\n"),
              HasSubstr("column 'bytes' is missing; did you mean 'byte'?"));
  EXPECT_THAT(ErrorOf("op,bytes,flops\ngemm,1,1\n"), HasSubstr("'median_us' is missing"));
}

TEST(Suite, CellsThatAreNoNumbersAreNamed) {
  EXPECT_THAT(ErrorOf("op,bytes,flops,median_us\ngemm,1,1,fast\n"),
              HasSubstr("a.csv:2: median_us: expected a number of at least 0, got 'fast'"));
  EXPECT_THAT(ErrorOf("op,bytes,flops,median_us\ngemm,1,1,0\n"), HasSubstr("takes more than 0"));
  EXPECT_THAT(ErrorOf("op,bytes,flops,median_us\ngemm,1,5\n"), HasSubstr("a.csv:2: 3 cells"));
}

TEST(Environment, ValuesMayHoldColons) {
  const auto card = ParseEnvironment(kEnvironment, "environment.yaml");
  ASSERT_TRUE(card.ok());
  EXPECT_EQ(card->gpu, "h200_sxm");
  EXPECT_EQ(card->hbm_bytes_per_s, 4.8e12);
}

TEST(Environment, WithoutDatasheetRatesNothingCouldBeChecked) {
  EXPECT_FALSE(ParseEnvironment("card: h200_sxm\n", "environment.yaml").ok());
}

TEST(Environment, WhatTheWorkOfKernelsDependsOnIsNeeded) {
  const std::string whole = kEnvironment;
  for (const std::string needed : {"multiprocessors", "l2_bytes"}) {
    std::string text = whole;
    text.replace(text.find(needed), needed.size(), "unread");
    const auto card = ParseEnvironment(text, "e.yaml");
    ASSERT_FALSE(card.ok());
    EXPECT_THAT(ToString(card.errors()), HasSubstr(needed));
  }
  const auto card = ParseEnvironment(whole, "e.yaml");
  ASSERT_TRUE(card.ok());
  EXPECT_EQ(card->multiprocessors, 132);
  EXPECT_EQ(card->cache_bytes, 60 * 1024 * 1024);
}

TEST(Environment, EveryLineIsReadOrRefusedWithItsPlace) {
  const auto error_of = [](const std::string& line) {
    const auto card = ParseEnvironment(kEnvironment + line, "e.yaml");
    return card.ok() ? "" : ToString(card.errors());
  };
  EXPECT_EQ(error_of("\n# a comment\r\ncommit: 1a2b\r\n"), "");
  EXPECT_THAT(error_of("cards [\n"), HasSubstr("e.yaml:7: expected 'key: value', got 'cards ['"));
  EXPECT_THAT(error_of("card: b200\n"), HasSubstr("e.yaml:7: card: appears twice"));
  EXPECT_THAT(error_of("datasheet_fp8_flop_per_s: fast\n"),
              HasSubstr("e.yaml:7: datasheet_fp8_flop_per_s: expected a number above 0"));
}

class Folders : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    ASSERT_TRUE(WriteFileAtomically(root_ / file, text).ok());
  }
  std::filesystem::path root_;
};

TEST_F(Folders, TwoGpusInOneFolderAreRefused) {
  Write("a/environment.yaml", kEnvironment);
  Write("a/x.csv", "op,bytes,flops,median_us\ngemm,1,1,5\n");
  std::string other = kEnvironment;
  other.replace(other.find("h200"), 4, "h100");
  Write("b/environment.yaml", other);
  Write("b/x.csv", "op,bytes,flops,median_us\ngemm,1,1,5\n");
  const auto read = ReadMeasurements(root_);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(ToString(read.errors()), HasSubstr("is h100_sxm, but"));
  EXPECT_THAT(ToString(read.errors()), HasSubstr("one GPU at a time"));
}

TEST_F(Folders, AFolderWithoutSuitesIsRefused) {
  std::filesystem::create_directories(root_);
  EXPECT_THAT(ToString(ReadMeasurements(root_).errors()), HasSubstr("environment.yaml"));
}

TEST_F(Folders, PlacesOfErrorsAreFilesThatCanBeOpened) {
  Write("a/environment.yaml", kEnvironment);
  Write("a/x.csv", "op,bytes,flops,median_us\ngemm,1,1,soon\n");
  const auto read = ReadMeasurements(root_);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.errors().front().where, (root_ / "a/x.csv:2").string());
}

TEST(Hygiene, RowsFasterThanPhysicsAreRefusedAndListed) {
  Measurements m = test::LawMeasurements();
  m.rows[70].time_ns /= 100;
  const auto done = Calibrate(m, "made-up");
  ASSERT_TRUE(done.ok());
  ASSERT_EQ(done->report.refused.size(), 1U);
  EXPECT_THAT(done->report.refused[0].why, HasSubstr("faster than physics"));
  EXPECT_EQ(done->report.refused[0].source.line, m.rows[70].source.line);
  EXPECT_EQ(done->profile.sources[0].refused, 1);
  EXPECT_EQ(done->profile.sources[0].rows, 71);
}

TEST(Hygiene, RepeatsThatAgreeAreMergedAndCounted) {
  Measurements m = test::LawMeasurements();
  m.rows.push_back(m.rows.front());
  const auto clean = Clean(m);
  ASSERT_TRUE(clean.ok());
  EXPECT_EQ(clean->merged, 1);
  EXPECT_EQ(clean->rows.size(), 72U);
}

TEST(Hygiene, RepeatsThatDisagreeAreAnErrorThatNamesBoth) {
  Measurements m = test::LawMeasurements();
  m.rows.push_back(m.rows.front());
  m.rows.back().time_ns *= 2;
  m.rows.back().source.line = 99;
  const auto clean = Clean(m);
  ASSERT_FALSE(clean.ok());
  EXPECT_THAT(ToString(clean.errors()), HasSubstr("made_up.csv:99"));
  EXPECT_THAT(ToString(clean.errors()), HasSubstr("made_up.csv:2 measured the same point"));
}

TEST(Hygiene, ManyDisagreementsAreNamedInPartAndCounted) {
  Measurements m = test::LawMeasurements();
  const std::vector<KernelRow> once = m.rows;
  for (KernelRow row : once) {
    row.time_ns *= 2;
    m.rows.push_back(row);
  }
  const auto clean = Clean(m);
  ASSERT_FALSE(clean.ok());
  EXPECT_EQ(clean.errors().size(), 11U);
  EXPECT_THAT(clean.errors().back().message,
              HasSubstr("and " + std::to_string(once.size() - 10) + " more points"));
}

TEST(Hygiene, TimesInAnotherUnitAreAnErrorThatSaysSo) {
  Measurements m = test::LawMeasurements();
  for (KernelRow& row : m.rows) row.time_ns /= 1000;
  const auto done = Calibrate(m, "made-up");
  ASSERT_FALSE(done.ok());
  EXPECT_THAT(ToString(done.errors()),
              AllOf(HasSubstr("made_up.csv:"), HasSubstr("every row is refused; the first, "),
                    HasSubstr("are times in another unit, or of another GPU?")));
}

TEST(Hygiene, TooFewPointsForAnyFitIsAnError) {
  Measurements m = test::LawMeasurements();
  m.rows.resize(3);
  EXPECT_THAT(ToString(Calibrate(m, "made-up").errors()), HasSubstr("4 rows or more"));
}

TEST(Suspects, ARowOffItsNeighboursIsNamed) {
  Measurements m = test::LawMeasurements();
  m.rows[40].time_ns *= 1.5;
  const auto done = Calibrate(m, "made-up");
  ASSERT_TRUE(done.ok());
  bool named = false;
  for (const SuspectRow& row : done->report.kernels[0].suspects) {
    named = named || row.source.line == m.rows[40].source.line;
  }
  EXPECT_TRUE(named);
}

}  // namespace
}  // namespace moecast::calibration
