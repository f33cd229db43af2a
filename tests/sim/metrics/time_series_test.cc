#include "sim/metrics/time_series.h"

#include <gtest/gtest.h>

namespace moecast {
namespace {

Time At(int64_t ns) { return Time(Duration(ns)); }

TEST(TimeSeries, AveragesWeighStatesByTheirDuration) {
  TimeSeries series({.period = Duration(10), .max_samples = 8});
  series.Advance(At(4), {.running = 0});
  series.Advance(At(10), {.running = 5});
  ASSERT_EQ(series.samples().size(), 1u);
  EXPECT_DOUBLE_EQ(series.samples()[0].running_requests, 3.0);
  EXPECT_EQ(series.samples()[0].at, At(10));
}

TEST(TimeSeries, CountsGoToThePeriodOfTheirInstant) {
  TimeSeries series({.period = Duration(10), .max_samples = 8});
  series.Advance(At(9), {});
  ++series.current().finished;
  series.Advance(At(10), {});
  ++series.current().finished;
  ++series.current().finished;
  series.Finish(At(15), {});
  ASSERT_EQ(series.samples().size(), 2u);
  EXPECT_EQ(series.samples()[0].finished, 1);
  EXPECT_EQ(series.samples()[1].finished, 2);
  EXPECT_EQ(series.samples()[1].at, At(15));
}

TEST(TimeSeries, DoublingThePeriodKeepsAveragesAndCounts) {
  TimeSeries series({.period = Duration(1), .max_samples = 4});
  for (int64_t t = 1; t <= 64; ++t) {
    series.Advance(At(t), {.waiting = t});
    ++series.current().arrived;
  }
  series.Finish(At(64), {});
  EXPECT_LE(series.samples().size(), 4u);
  double request_ns = 0;
  int64_t arrived = 0;
  int64_t last = 0;
  for (const TimeSample& sample : series.samples()) {
    const int64_t end = sample.at.time_since_epoch().count();
    request_ns += sample.waiting_requests * static_cast<double>(end - last);
    arrived += sample.arrived;
    last = end;
  }
  EXPECT_DOUBLE_EQ(request_ns, 64.0 * 65.0 / 2.0);
  EXPECT_DOUBLE_EQ(series.integral().waiting, request_ns);
  EXPECT_EQ(arrived, 63) << "the last arrival falls on the start of a period that never was";
}

TEST(TimeSeries, LongSilenceCostsFewRows) {
  TimeSeries series({.period = Duration(1), .max_samples = 16});
  series.Advance(At(1'000'000'000'000), {.running = 1});
  EXPECT_LE(series.samples().size(), 16u);
  EXPECT_DOUBLE_EQ(series.integral().running, 1e12);
}

}  // namespace
}  // namespace moecast
