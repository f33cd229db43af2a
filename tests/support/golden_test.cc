#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "sim/base/files.h"
#include "tests/support/temporary_folder.h"

namespace moecast::test {
namespace {

class Golden : public ::testing::Test {
 protected:
  Golden() {
    std::filesystem::create_directory(folders_.expected);
    EXPECT_TRUE(WriteFileAtomically(folders_.expected / "a.txt", "one\ntwo\nthree\n").ok());
  }

  TemporaryFolder folder_;
  GoldenFolders folders_ = {.expected = folder_ / "expected", .found = folder_ / "found"};
};

TEST_F(Golden, EqualTextPassesAndLeavesNothing) {
  EXPECT_TRUE(MatchesGolden(folders_, "a.txt", "one\ntwo\nthree\n"));
  EXPECT_FALSE(std::filesystem::exists(folders_.found));
}

TEST_F(Golden, DifferenceNamesTheFirstLineAndKeepsWhatWasFound) {
  const auto result = MatchesGolden(folders_, "a.txt", "one\n2\nthree\n");
  ASSERT_FALSE(result);
  const std::string message = result.message();
  EXPECT_NE(message.find("a.txt:2: "), std::string::npos) << message;
  EXPECT_NE(message.find("expected: two\n"), std::string::npos) << message;
  EXPECT_NE(message.find("found:    2\n"), std::string::npos) << message;
  EXPECT_EQ(*ReadFile(folders_.found / "a.txt"), "one\n2\nthree\n");
}

TEST_F(Golden, TextThatStopsEarlyDiffers) {
  EXPECT_FALSE(MatchesGolden(folders_, "a.txt", "one\ntwo\n"));
  EXPECT_FALSE(MatchesGolden(folders_, "a.txt", ""));
}

TEST_F(Golden, MissingGoldenFailsAndKeepsWhatWasFound) {
  const auto result = MatchesGolden(folders_, "new/b.txt", "text");
  EXPECT_FALSE(result);
  EXPECT_EQ(*ReadFile(folders_.found / "new/b.txt"), "text");
}

TEST_F(Golden, AgreementRemovesAnEarlierFinding) {
  EXPECT_FALSE(MatchesGolden(folders_, "a.txt", "other"));
  EXPECT_TRUE(MatchesGolden(folders_, "a.txt", "one\ntwo\nthree\n"));
  EXPECT_FALSE(std::filesystem::exists(folders_.found / "a.txt"));
}

}  // namespace
}  // namespace moecast::test
