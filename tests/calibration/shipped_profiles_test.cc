// The shipped profiles: they are what the committed measurements give, and as accurate as stated.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "calibration/calibrate.h"
#include "calibration/profile_text.h"
#include "sim/base/files.h"

namespace moecast::calibration {
namespace {

class Shipped : public testing::TestWithParam<const char*> {
 protected:
  /// Calibrated once per GPU.
  static const Result<Calibration>& Again() {
    static std::map<std::string, Result<Calibration>> done;
    const auto found = done.find(GetParam());
    return found != done.end() ? found->second : done.emplace(GetParam(), Now()).first->second;
  }

 private:
  static Result<Calibration> Now() {
    const std::filesystem::path source(MOECAST_SOURCE);
    SIM_TRY(const Measurements m,
            ReadMeasurements(source / "calibration/measurements" / GetParam()));
    return Calibrate(m, GetParam());
  }
};

TEST_P(Shipped, ProfileRegeneratesByteForByte) {
  const auto& again = Again();
  ASSERT_TRUE(again.ok()) << ToString(again.errors());
  const auto shipped = ReadFile(std::filesystem::path(MOECAST_SOURCE) / "calibration/profiles" /
                                (std::string(GetParam()) + ".yaml"));
  ASSERT_TRUE(shipped.ok());
  // Not EXPECT_EQ: a difference would print both files.
  EXPECT_TRUE(ProfileYaml(again->profile) == *shipped)
      << "moecast calibrate writes another profile than the committed one";
}

/// Goldens, with room for another day's measurements of the same kernels.
TEST_P(Shipped, HeldOutErrorsAreAsStated) {
  const auto& again = Again();
  ASSERT_TRUE(again.ok());
  const CalibrationReport& report = again->report;
  EXPECT_LT(report.all.median, 0.027);
  EXPECT_LT(report.all.p95, 0.16);
  EXPECT_LT(std::abs(report.all.bias), 0.01);
  for (const KernelReport& kernel : report.kernels) {
    if (kernel.held_out.points < 50) continue;
    EXPECT_LT(kernel.held_out.median, 0.08) << kernel.op << " " << kernel.format;
  }
}

TEST_P(Shipped, IntervalsHoldWhatTheyPromise) {
  const auto& again = Again();
  ASSERT_TRUE(again.ok());
  EXPECT_GT(again->report.covered80, 0.74);
  EXPECT_LT(again->report.covered80, 0.92);
  EXPECT_GT(again->report.covered95, 0.92);
  EXPECT_LT(again->report.covered95, 1);
}

TEST_P(Shipped, MeasuredLayersAreNearTheSumOfTheirLaunches) {
  const auto& again = Again();
  ASSERT_TRUE(again.ok());
  ASSERT_FALSE(again->report.composition.empty());
  for (const CompositionReport& each : again->report.composition) {
    EXPECT_LT(each.error.median, 0.03) << each.format;
  }
}

INSTANTIATE_TEST_SUITE_P(Gpus, Shipped, testing::Values("h100_sxm", "h200_sxm"));

}  // namespace
}  // namespace moecast::calibration
