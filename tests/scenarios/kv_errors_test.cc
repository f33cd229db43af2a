#include "scenarios/kv_errors.h"

#include <gtest/gtest.h>

#include <string>

namespace moecast {
namespace {

const std::string kHeader =
    "scheme,layer,data,head_dim,tokens,group,equivalent_bits,stored_bits,key_error,value_error,"
    "output_error\n";
const std::string kGood = "int4,all,real_shaped,128,1024,64,4.5,4.5,0.1,0.1,0.08\n";

/// The first error of a table, "where: message".
std::string ErrorOf(const std::string& text) {
  const auto errors = KvErrors::Parse(text, "errors.csv");
  if (errors.ok()) return "none";
  return errors.errors().front().where + ": " + errors.errors().front().message;
}

TEST(KvErrorTable, ReadsRowsAndAnEmptyTable) {
  EXPECT_EQ(ErrorOf(kHeader), "none");
  EXPECT_EQ(ErrorOf(kHeader + kGood), "none");
}

TEST(KvErrorTable, RefusesAnotherHeaderAtTheFirstLine) {
  EXPECT_EQ(ErrorOf(""),
            "errors.csv:1: expected the header " + kHeader.substr(0, kHeader.size() - 1));
  EXPECT_TRUE(ErrorOf("scheme,layer\n").starts_with("errors.csv:1: expected the header"));
}

TEST(KvErrorTable, NamesTheLineOfARowWithTooFewCells) {
  EXPECT_EQ(ErrorOf(kHeader + kGood + "int4,all,real_shaped,128\n"),
            "errors.csv:3: expected 11 cells, got 4");
}

TEST(KvErrorTable, NamesTheColumnAndTheCellThatIsNoNumber) {
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,real_shaped,wide,1024,64,4.5,4.5,0.1,0.1,0.08\n"),
            "errors.csv:2: head_dim: expected a number, got 'wide'");
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,real_shaped,128,1024,64,4.5,4.5,0.1,0.1,8%\n"),
            "errors.csv:2: output_error: expected a number, got '8%'");
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,real_shaped,0,1024,64,4.5,4.5,0.1,0.1,0.1\n"),
            "errors.csv:2: head_dim: must be from 1 to 65536, got 0");
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,real_shaped,128,1024,64,4.5,4.5,0.1,0.1,nan\n"),
            "errors.csv:2: output_error: must be finite and 0 or more, got 'nan'");
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,real_shaped,128,1024,64,-4.5,4.5,0.1,0.1,0.1\n"),
            "errors.csv:2: equivalent_bits: must be finite and 0 or more, got '-4.5'");
}

TEST(KvErrorTable, LooksOnlyAtRowsOfItsData) {
  EXPECT_EQ(ErrorOf(kHeader + "int4,all,gaussian,wide,,,,,,,\n"), "none");
}

}  // namespace
}  // namespace moecast
