// What a reader must know about a scenario before trusting its figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/provenance.h"
#include "tests/sim/run/tiny_study.h"

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(Caveats, FormatsThatTheGpuMultipliesAreNone) {
  EXPECT_THAT(Caveats(test::TinyStudy().cases.front().scenario), IsEmpty());
}

TEST(Caveats, RequestsThatNeverFitAreCounted) {
  RunTotals totals;
  totals.arrived = 7;
  EXPECT_THAT(Caveats(totals), IsEmpty());
  totals.rejected = 2;
  EXPECT_THAT(Caveats(totals), ElementsAre(StartsWith("2 of 7 requests were rejected")));
}

TEST(Caveats, RequestsLongerThanTheModelsPositionsAreCounted) {
  RunTotals totals;
  totals.arrived = 7;
  totals.beyond_positions = 3;
  EXPECT_THAT(Caveats(totals), ElementsAre(StartsWith("3 of 7 requests are longer than")));
}

TEST(Caveats, AFormatWithoutItsUnitIsNamedOnceWithEverythingStoredInIt) {
  Study study = test::TinyStudy();
  Scenario& scenario = study.cases.front().scenario;
  scenario.model.formats.attention = {.name = "w4a4",
                                      .stored_bits = 4,
                                      .compute = ComputeClass::kInt4,
                                      .otherwise = ComputeClass::kInt8};
  scenario.model.formats.lm_head = scenario.model.formats.attention;
  scenario.device.peak[static_cast<size_t>(ComputeClass::kInt4)] = FlopsPerSecond(0);
  EXPECT_THAT(Caveats(scenario),
              ElementsAre("w4a4 is not multiplied natively by " + scenario.device.name +
                          ": it is read as stored and dequantised to int8 (attention, LM head)"));
}

}  // namespace
}  // namespace moecast
