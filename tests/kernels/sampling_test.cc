// The stopping rule and the throttle filter, fed with numbers.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/harness/sample_ledger.h"
#include "kernels/harness/stopping_rule.h"

namespace moecast::kernels {
namespace {

constexpr StoppingRule kRule{.min_samples = 10,
                             .max_samples = 40,
                             .max_iqr_ratio = 0.01,
                             .max_relative_error = 0.001,
                             .max_seconds = 5};

// Half of the samples at 1, half at 1 + spread: the interquartile range is the spread.
std::vector<double> TwoLevels(size_t count, double spread) {
  std::vector<double> samples;
  for (size_t i = 0; i < count; ++i) samples.push_back(i % 2 == 0 ? 1.0 : 1.0 + spread);
  return samples;
}

ClockReading At(double sm_mhz, uint64_t reasons) {
  return {.sm_mhz = sm_mhz, .max_sm_mhz = 2000, .power_w = 500, .reasons = reasons};
}

constexpr uint64_t kIdle = 0x1;
constexpr uint64_t kPowerCap = 0x4;
constexpr uint64_t kThermal = 0x20;

TEST(Summarise, GivesOrderStatisticsAndStandardErrorOfKnownSamples) {
  const SampleSummary summary = Summarise(std::vector<double>{5, 1, 3, 2, 4});
  EXPECT_DOUBLE_EQ(summary.min, 1);
  EXPECT_DOUBLE_EQ(summary.median, 3);
  EXPECT_DOUBLE_EQ(summary.iqr(), 2);
  EXPECT_NEAR(summary.relative_error, 1.5811388 / 2.2360680 / 3, 1e-6);
}

TEST(StoppingRule, GoesOnBelowTheLeastCountHoweverQuiet) {
  EXPECT_EQ(Decide(kRule, TwoLevels(9, 0), 100), StopReason::kGoOn);
}

TEST(StoppingRule, StopsWhenTheInterquartileRangeIsSmall) {
  EXPECT_EQ(Decide(kRule, TwoLevels(10, 0.009), 0), StopReason::kQuiet);
  EXPECT_EQ(Decide(kRule, TwoLevels(10, 0.012), 0), StopReason::kGoOn);
}

TEST(StoppingRule, StopsWhenTheMeanIsKnownThoughSamplesAreWide) {
  // The standard error of n samples at +-spread/2 is about spread / 2 / sqrt(n).
  StoppingRule rule = kRule;
  rule.max_samples = 1000;
  EXPECT_EQ(Decide(rule, TwoLevels(100, 0.03), 0), StopReason::kGoOn);
  EXPECT_EQ(Decide(rule, TwoLevels(900, 0.03), 0), StopReason::kQuiet);
}

TEST(StoppingRule, NamesTheLimitThatEndedANoisyRow) {
  EXPECT_EQ(Decide(kRule, TwoLevels(40, 0.5), 0), StopReason::kSampleLimit);
  EXPECT_EQ(Decide(kRule, TwoLevels(20, 0.5), 5), StopReason::kTimeLimit);
  EXPECT_EQ(ToString(StopReason::kTimeLimit), "time_limit");
}

TEST(Throttled, NeedsBothAReasonAndALostClock) {
  EXPECT_TRUE(Throttled(At(1500, kPowerCap)));
  EXPECT_TRUE(Throttled(At(1500, kThermal)));
  EXPECT_FALSE(Throttled(At(1965, kPowerCap)));
  EXPECT_FALSE(Throttled(At(300, kIdle)));
  EXPECT_FALSE(Throttled(At(2000, 0)));
}

TEST(SampleLedger, DropsTheWholeBlockOfAThrottledReadingAndCountsIt) {
  SampleLedger ledger;
  ledger.Offer(std::vector<double>{1, 2, 3}, At(2000, 0));
  ledger.Offer(std::vector<double>{9, 9}, At(1000, kThermal));
  ledger.Offer(std::vector<double>{4}, At(1800, kPowerCap));
  EXPECT_EQ(ledger.kept(), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(ledger.discarded(), 2U);
  EXPECT_DOUBLE_EQ(ledger.MeanClocks().sm_mhz, 1900);
  EXPECT_EQ(ledger.MeanClocks().reasons, kPowerCap);
}

TEST(SampleLedger, KeepsSamplesWhenNobodyReadsTheClocks) {
  SampleLedger ledger;
  ledger.Offer(std::vector<double>{1}, std::nullopt);
  EXPECT_EQ(ledger.kept().size(), 1U);
  EXPECT_DOUBLE_EQ(ledger.MeanClocks().sm_mhz, 0);
}

TEST(ClockMonitor, SaysThatReadingsAreMissingWhereThereIsNoSuchDevice) {
  const ClockMonitor clocks("ffff:ff:1f.7");
  EXPECT_FALSE(clocks.available());
  EXPECT_FALSE(clocks.Read().has_value());
  EXPECT_EQ(clocks.driver_version(), "unknown");
}

}  // namespace
}  // namespace moecast::kernels
