// What a reader must know about a scenario before trusting its figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/offered_load.h"
#include "reports/provenance.h"
#include "tests/reports/hand_made_study.h"
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

TEST(Caveats, RunsTooShortForTheirLoadAreCounted) {
  Study study = test::TinyStudy();  // 50 requests/s, then 500
  StudyResult result = test::HandMadeResult(study, {{490}, {470}, {5000}, {100}});
  EXPECT_THAT(ShortRunCaveat(study, result).value(), StartsWith("in 2 of 4 cases requests finish"));
  result.cases[3].replications[0].summary.verdict = Verdict::kOverloaded;  // which says it already
  EXPECT_THAT(ShortRunCaveat(study, result).value(), StartsWith("in 1 of 4"));
  std::get<SyntheticWorkload>(study.cases[1].scenario.workload).arrivals = ClosedLoop{1};
  EXPECT_EQ(ShortRunCaveat(study, result), std::nullopt);
}

TEST(Caveats, OfferedRatesAreMeans) {
  const auto rate = [](const Arrivals& arrivals) {
    return OfferedRate(SyntheticWorkload{.arrivals = arrivals, .input = {}, .output = {}});
  };
  EXPECT_EQ(rate(GammaArrivals{.rate_per_s = 3, .cv = 2}), 3);
  EXPECT_EQ(rate(OnOffArrivals{.on_rate_per_s = 9, .off_rate_per_s = 1, .on_s = 1, .off_s = 3}), 3);
  EXPECT_EQ(rate(ClosedLoop{4}), std::nullopt);
  EXPECT_EQ(OfferedRate(TraceWorkload{}), std::nullopt);
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
