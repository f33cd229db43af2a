// `moecast validate` where it cannot execute: says why, exits with 2, leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/examples/run_moecast.h"

namespace moecast {
namespace {

using test::Outcome;
using test::RunMoecast;
using test::TemporaryFolder;
using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(Validate, OnAMachineThatIsNotTheScenariosSaysSoAndLeavesNothing) {
  const TemporaryFolder folder;
  // For an A40: no build executes steps on one.
  const Outcome outcome =
      RunMoecast({"validate", "--scenario", "scenarios/examples/01_first_forecast.yaml", "--out",
                  (folder / "out").string()});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AnyOf(HasSubstr("built without CUDA"), HasSubstr("opening the GPU")));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Validate, RefusesExpectedExpertChoices) {
  const TemporaryFolder folder;
  const Outcome outcome =
      RunMoecast({"validate", "--scenario", "scenarios/examples/01_first_forecast.yaml", "--set",
                  "routing=uniform", "--out", (folder / "out").string()});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("`uniform` routing has only expected ones"));
}

TEST(Validate, NeedsAScenarioAndAFolder) {
  EXPECT_EQ(RunMoecast({"validate"}).exit_code, 2);
  EXPECT_THAT(RunMoecast({"validate", "--scenario", "nowhere.yaml", "--out", "x"}).err,
              HasSubstr("nowhere.yaml"));
}

}  // namespace
}  // namespace moecast
