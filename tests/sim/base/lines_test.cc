#include "sim/base/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moecast {
namespace {

using ::testing::ElementsAre;

TEST(Lines, AreTakenWithEitherLineBreak) {
  std::string_view text = "a,b\r\n\nlast";
  EXPECT_EQ(TakeLine(text), "a,b");
  EXPECT_EQ(TakeLine(text), "");
  EXPECT_EQ(TakeLine(text), "last");
  EXPECT_TRUE(text.empty());
}

TEST(Lines, CellsKeepEmptyOnes) {
  EXPECT_THAT(SplitCells("a,,b,"), ElementsAre("a", "", "b", ""));
  EXPECT_THAT(SplitCells(""), ElementsAre(""));
}

}  // namespace
}  // namespace moecast
