// Every scenario of scenarios/validation loads, can be executed, and rests on measured kernels.
#include <gtest/gtest.h>

#include <filesystem>

#include "scenarios/scenario_codec.h"
#include "sim/validate/execute_study.h"

namespace moecast {
namespace {

TEST(ValidationScenarios, LoadAndCanBeExecuted) {
  size_t files = 0;
  size_t cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator("scenarios/validation")) {
    const Result<Study> study = LoadStudy(entry.path(), {}, "scenarios/catalog");
    ASSERT_TRUE(study.ok()) << ToString(study.errors());
    const Status executable = CheckExecutable(*study);
    EXPECT_TRUE(executable.ok()) << entry.path() << ": " << ToString(executable.errors());
    EXPECT_EQ(study->name, entry.path().stem().string());
    for (const StudyCase& c : study->cases) {
      EXPECT_NE(c.scenario.profile, nullptr) << entry.path();
      EXPECT_EQ(c.scenario.efficiencies.host_per_step.count(), 0) << entry.path();
    }
    ++files;
    cases += study->cases.size();
  }
  EXPECT_GE(files, 12U);
  EXPECT_GE(cases, 2 * files);
}

}  // namespace
}  // namespace moecast
