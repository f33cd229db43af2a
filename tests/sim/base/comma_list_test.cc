#include "sim/base/comma_list.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace moecast {
namespace {

TEST(CommaList, NamesItemsInOrderWithACommaBetween) {
  EXPECT_EQ(CommaList(std::vector<std::string>{"b", "a", "c"}), "b, a, c");
  EXPECT_EQ(CommaList(std::vector<std::string_view>{"one"}), "one");
  EXPECT_EQ(CommaList(std::vector<std::string>{}), "");
}

TEST(CommaList, AnEmptyItemKeepsItsPlace) {
  EXPECT_EQ(CommaList(std::vector<std::string>{"", "a", ""}), ", a, ");
}

TEST(CommaList, TakesAnItemsTextFromAFunctionOrAMember) {
  EXPECT_EQ(CommaList(std::vector<int>{3, 1, 2}, [](int i) { return std::to_string(i); }),
            "3, 1, 2");
  struct Column {
    std::string name;
  };
  EXPECT_EQ(CommaList(std::vector<Column>{{"x"}, {"y"}}, &Column::name), "x, y");
}

}  // namespace
}  // namespace moecast
