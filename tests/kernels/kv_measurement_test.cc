// Rows of the KV suites: the header others read, round trip, refusals, the check against the card.
#include "kernels/harness/kv_measurement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moecast::kernels {
namespace {

using ::testing::HasSubstr;

KvMeasurement SampleRow() {
  KvMeasurement row;
  row.op = "append";
  row.model = "Qwen3-30B-A3B";
  row.regime = "even";
  row.format = "kivi2";
  row.sequences = 256;
  row.stored_bits = 3.5;
  row.output_error = 0.125;
  row.bytes = 1e6;
  row.time_us = {.min = 2, .p05 = 2, .p25 = 2, .median = 2.5, .p75 = 3, .p95 = 3};
  row.stop = "quiet";
  row.samples_us = {2.25, 2.5};
  return row;
}

TEST(KvMeasurementCsv, HeaderIsTheOneThatReadersExpect) {
  EXPECT_EQ(ToCsv(std::vector<KvMeasurement>{}),
            "op,model,regime,format,sequences,cached_tokens,max_context,new_tokens,query_heads,"
            "kv_heads,head_dim,key_bits,value_bits,group,residual,window,selected_tokens,"
            "stored_bits,read_bits,equivalent_bits,output_error,bytes,flops,launches,samples,"
            "discarded,median_us,min_us,p05_us,p25_us,p75_us,p95_us,stop,sm_mhz,power_w,reasons\n");
}

TEST(KvMeasurementCsv, RoundTripKeepsEveryColumnAndAnAbsentError) {
  const std::string text = ToCsv({SampleRow(), KvMeasurement{}});
  const auto read = ParseKvMeasurements(text, "append.csv");
  ASSERT_TRUE(read.ok()) << ToString(read.errors());
  EXPECT_EQ(ToCsv(*read), text);
  EXPECT_EQ((*read)[0].output_error, 0.125);
  EXPECT_EQ((*read)[1].output_error, std::nullopt);
  EXPECT_DOUBLE_EQ((*read)[0].time_us.median, 2.5);
}

TEST(KvMeasurementCsv, NoColumnMayMissOrBeUnknown) {
  std::string text = ToCsv({SampleRow()});
  text.replace(text.find("read_bits"), 9, "red_bits");
  const auto read = ParseKvMeasurements(text, "append.csv");
  ASSERT_FALSE(read.ok());
  const std::string message = ToString(read.errors());
  EXPECT_THAT(message, HasSubstr("unknown column 'red_bits'; did you mean 'read_bits'?"));
  EXPECT_THAT(message, HasSubstr("no column 'read_bits'"));
}

TEST(KvMeasurementCsv, ACellThatIsNoNumberIsNamedByLineAndColumn) {
  std::string text = ToCsv({SampleRow()});
  text.replace(text.find("0.125"), 5, "small");
  const auto read = ParseKvMeasurements(text, "append.csv");
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(ToString(read.errors()), HasSubstr("append.csv:2: output_error"));
}

TEST(KvMeasurementCsv, SamplesStandOneLinePerRow) {
  EXPECT_EQ(SamplesToCsv({SampleRow(), KvMeasurement{}}), "row,samples_us\n0,2.25 2.5\n1,\n");
}

TEST(KvMeasurement, RatesAboveTheCardsAreRefused) {
  const CardPeak peak{
      .name = "card", .hbm_bytes_per_s = 1e12, .bf16_flop_per_s = 1e14, .fp8_flop_per_s = 2e14};
  EXPECT_TRUE(CheckAgainstPeak(SampleRow(), peak).ok());
  KvMeasurement row = SampleRow();
  row.bytes = 3e6;
  EXPECT_THAT(ToString(CheckAgainstPeak(row, peak).errors()), HasSubstr("bytes/s"));
  row = SampleRow();
  row.flops = 3e8;
  EXPECT_THAT(ToString(CheckAgainstPeak(row, peak).errors()), HasSubstr("flop/s"));
}

}  // namespace
}  // namespace moecast::kernels
