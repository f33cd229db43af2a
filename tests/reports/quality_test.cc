#include "reports/quality.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/sim/run/tiny_study.h"

namespace moecast {
namespace {

using test::TinyStudy;
using ::testing::HasSubstr;

QualityFinding Finding() {
  return {.experts = UniformTopK{1},
          .kv = "bf16",
          .family = TaskFamily::kGeneration,
          .task = "AIME24",
          .value = 51.2,
          .unit = "%",
          .standard_error = 1.42,
          .native_value = 80.4,
          .source = "[A25] Table 6",
          .note = "decode only"};
}

TEST(QualityReport, ShowsEachVariantOnceWithErrorReferenceAndSource) {
  Study study = TinyStudy();  // two variants at two loads
  study.cases[1].quality = study.cases[3].quality = {Finding()};
  const std::string text = RenderQuality(study);
  EXPECT_THAT(text, HasSubstr("generation"));
  EXPECT_THAT(text, HasSubstr("51.20 ±1.42 %"));
  EXPECT_THAT(text, HasSubstr("80.40  [A25] Table 6"));
  EXPECT_EQ(text.find("AIME24"), text.rfind("AIME24"));
}

TEST(QualityReport, SaysMissingForAPolicyThatNobodyMeasured) {
  const Study study = TinyStudy();
  EXPECT_THAT(RenderQuality(study), HasSubstr(study.cases[1].variant + "    missing"));
}

TEST(QualityReport, IsEmptyForUnchangedModelsThatNobodyMeasured) {
  Study study = TinyStudy();
  for (StudyCase& c : study.cases) c.scenario.experts = NativeTopK{};
  EXPECT_EQ(RenderQuality(study), "");
}

TEST(QualityReport, JsonLeavesOutWhatIsNotKnown) {
  StudyCase c = TinyStudy().cases[0];
  EXPECT_TRUE(QualityJson(c).empty());
  c.quality = {Finding()};
  c.quality[0].standard_error.reset();
  const boost::json::object out = QualityJson(c).at(0).as_object();
  EXPECT_EQ(out.at("unchanged_value").as_double(), 80.4);
  EXPECT_FALSE(out.contains("standard_error"));
}

}  // namespace
}  // namespace moecast
