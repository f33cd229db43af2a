// Measurement files: round trip, refusals, and the check against the card's peak.
#include "kernels/harness/measurement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/harness/csv_table.h"
#include "kernels/harness/reference_data.h"

namespace moecast::kernels {
namespace {

using ::testing::HasSubstr;

Measurement SampleRow() {
  Measurement row;
  row.op = "gate_up";
  row.model = "Mixtral-8x7B";
  row.regime = "routed";
  row.rule = "ratio 0.5";
  row.tokens = 16;
  row.distinct = 7.875;
  row.bytes = 1.875e9;
  row.time_us = {.min = 440.5, .p05 = 441, .p25 = 442, .median = 443.25, .p75 = 444, .p95 = 450};
  row.stop = "quiet";
  row.sm_mhz = 1980;
  row.reasons = 4;
  row.samples_us = {441.5, 443.25};
  return row;
}

TEST(MeasurementCsv, RoundTripKeepsEveryColumn) {
  const std::vector<Measurement> rows{SampleRow(), Measurement{}};
  const std::string text = ToCsv(rows);
  const auto read = ParseMeasurements(text, "rows.csv");
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ(ToCsv(*read), text);
  EXPECT_EQ((*read)[0].rule, "ratio 0.5");
  EXPECT_DOUBLE_EQ((*read)[0].distinct, 7.875);
  EXPECT_DOUBLE_EQ((*read)[0].time_us.median, 443.25);
}

TEST(MeasurementCsv, ColumnOrderIsFreeButNoneMayMissOrBeUnknown) {
  std::string text = ToCsv({SampleRow()});
  text.replace(text.find("tokens"), 6, "token");
  const auto read = ParseMeasurements(text, "rows.csv");
  ASSERT_FALSE(read.ok());
  const std::string message = ToString(read.errors());
  EXPECT_THAT(message, HasSubstr("unknown column 'token'; did you mean 'tokens'?"));
  EXPECT_THAT(message, HasSubstr("no column 'tokens'"));
}

TEST(MeasurementCsv, FilesWithoutAFormatColumnAreBf16) {
  Measurement row = SampleRow();
  row.format = "fp8_block";
  std::string text = ToCsv({row});
  const auto read = ParseMeasurements(text, "rows.csv");
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ((*read)[0].format, "fp8_block");
  for (const std::string_view cell : {",format", ",fp8_block"})
    text.erase(text.find(cell), cell.size());
  const auto older = ParseMeasurements(text, "rows.csv");
  ASSERT_TRUE(older.ok()) << ToString(older.errors());
  EXPECT_EQ((*older)[0].format, "bf16");
}

TEST(MeasurementCsv, NamesLineAndColumnOfACellThatIsNoNumber) {
  std::string text = ToCsv({SampleRow()});
  text.replace(text.find("443.25"), 6, "443,2x");
  EXPECT_THAT(ToString(ParseMeasurements(text, "rows.csv").errors()), HasSubstr("rows.csv:2"));
  text = ToCsv({SampleRow()});
  text.replace(text.find("443.25"), 6, "443.2x");
  EXPECT_THAT(ToString(ParseMeasurements(text, "rows.csv").errors()),
              HasSubstr("rows.csv:2: median_us: '443.2x' is not a finite number"));
}

TEST(MeasurementCsv, SamplesStandOneLinePerRow) {
  EXPECT_EQ(SamplesToCsv({SampleRow(), Measurement{}}), "row,samples_us\n0,441.5 443.25\n1,\n");
}

TEST(CsvTable, RefusesQuotesDoubledColumnsAndAnEmptyFile) {
  EXPECT_THAT(ToString(ParseCsv("a,b\n1,\"2\"\n", "f").errors()), HasSubstr("f:2"));
  EXPECT_THAT(ToString(ParseCsv("a,a\n", "f").errors()), HasSubstr("'a' appears twice"));
  EXPECT_THAT(ToString(ParseCsv("", "f").errors()), HasSubstr("header"));
  EXPECT_FALSE(ParseNumber("nan", "f").ok());
  EXPECT_FALSE(ParseNumber("1 ", "f").ok());
}

TEST(CheckAgainstPeak, RefusesMoreBytesThanTheMemoryCanDeliver) {
  Measurement row = SampleRow();
  const double rate = row.bytes / (row.time_us.median * 1e-6);
  const auto fits = [&](double hbm) {
    return CheckAgainstPeak(row, {.name = "card", .hbm_bytes_per_s = hbm}).ok();
  };
  EXPECT_TRUE(fits(rate * 1.001));
  EXPECT_FALSE(fits(rate * 0.999));
  row.warm_ratio = 0.5;  // half of it may come from L2
  EXPECT_TRUE(fits(rate * 0.6));
}

TEST(CheckAgainstPeak, ActivationsThatEveryLaunchOfARingMovesCountAsWarm) {
  // A router of 8192 tokens on a card of 50 MB of L2: 0.3 MB of weights, 35 MB of activations.
  constexpr double kL2 = 50e6;
  const ProductRing router{.weight_bytes = 0.3e6, .activation_bytes = 35e6, .copies = 3};
  EXPECT_EQ(WarmRatio(router, kL2), 1);
  EXPECT_DOUBLE_EQ(WarmRatio({.weight_bytes = 4e6, .activation_bytes = 116e6, .copies = 2}, kL2),
                   116.0 / 120);
  EXPECT_EQ(WarmRatio({.weight_bytes = 30e6, .activation_bytes = 0, .copies = 4}, kL2), 0);
  Measurement row = SampleRow();
  row.bytes = 35.3e6;
  row.time_us.median = 9.3;  // 3.8e12 bytes a second
  const CardPeak peak{.name = "card", .hbm_bytes_per_s = 3.35e12, .bf16_flop_per_s = 1e20};
  row.warm_ratio = 0;
  EXPECT_FALSE(CheckAgainstPeak(row, peak).ok());
  row.warm_ratio = WarmRatio(router, kL2);
  EXPECT_TRUE(CheckAgainstPeak(row, peak).ok());
}

TEST(CheckAgainstPeak, RefusesMoreOperationsThanTheFormatsTensorCoresCanDo) {
  Measurement row = SampleRow();
  row.flops = row.time_us.median * 1e-6 * 1.5e15;
  const CardPeak peak{
      .name = "card", .hbm_bytes_per_s = 1e20, .bf16_flop_per_s = 1e15, .fp8_flop_per_s = 2e15};
  EXPECT_THAT(ToString(CheckAgainstPeak(row, peak).errors()), HasSubstr("operations"));
  row.format = "fp8_block";
  EXPECT_TRUE(CheckAgainstPeak(row, peak).ok());
}

TEST(ReferenceData, ShippedFilesAreReadAndEveryShapeFitsTheKernels) {
  const auto models = ReadModelShapes("kernels/data/models.csv");
  ASSERT_TRUE(models.ok()) << ToString(models.errors());
  for (const ModelShape& model : *models) {
    EXPECT_EQ(model.shape.hidden % 64, 0) << model.name;
    EXPECT_EQ(model.shape.intermediate % 32, 0) << model.name;
    EXPECT_LE(model.shape.top_k, model.shape.experts) << model.name;
  }
  const auto card = ReadCardPeak("kernels/data/cards.csv", "NVIDIA H200");
  ASSERT_TRUE(card.ok());
  EXPECT_EQ(card->name, "h200_sxm");
  EXPECT_EQ(ReadCardPeak("kernels/data/cards.csv", "NVIDIA H100 80GB HBM3")->name, "h100_sxm");
  EXPECT_FALSE(ReadCardPeak("kernels/data/cards.csv", "NVIDIA A100").ok());
}

}  // namespace
}  // namespace moecast::kernels
