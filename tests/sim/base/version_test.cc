#include "sim/base/version.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace moecast {
namespace {

TEST(Version, IsMajorMinorPatch) {
  EXPECT_THAT(std::string(Version()), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST(GitCommit, IsACommitOrUnknown) {
  const std::string commit(GitCommit());
  if (commit == "unknown") return;
  const std::string hash = commit.substr(0, 40);
  EXPECT_EQ(hash.size(), 40U);
  EXPECT_EQ(hash.find_first_not_of("0123456789abcdef"), std::string::npos) << commit;
  const std::string suffix = commit.substr(hash.size());
  EXPECT_TRUE(suffix.empty() || suffix == "-dirty") << commit;
}

}  // namespace
}  // namespace moecast
