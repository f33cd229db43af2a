// Golden files: text under tests/golden that a run must reproduce byte for byte. A golden never
// stands alone: an invariant or closed-form test covers the same output.
//
// On a difference the text found is kept in the build folder; `cmake --build <build> --target
// update-goldens` then copies what failed tests found over tests/golden, for review with git diff.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string_view>

namespace moecast::test {

/// Compares `actual` with tests/golden/`name`; the failure shows the first line that differs.
///   EXPECT_TRUE(MatchesGolden("01_first_forecast/report.txt", text));
::testing::AssertionResult MatchesGolden(const std::filesystem::path& name,
                                         std::string_view actual);

/// The same with the two folders given: what is expected, and where to keep what differs.
struct GoldenFolders {
  std::filesystem::path expected;
  std::filesystem::path found;
};
::testing::AssertionResult MatchesGolden(const GoldenFolders& folders,
                                         const std::filesystem::path& name,
                                         std::string_view actual);

}  // namespace moecast::test
