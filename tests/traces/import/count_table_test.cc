#include "traces/count_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

class CountTableTest : public ::testing::Test {
 protected:
  std::string ErrorOf(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(scratch_ / "table.csv", text).ok());
    const auto table = ReadCountTable(scratch_ / "table.csv");
    return table.ok() ? "read" : ToString(table.errors());
  }
  test::TemporaryFolder scratch_;
};

TEST_F(CountTableTest, WhatIsWrittenIsRead) {
  const CountShape shape{.moe_layers = {1, 3}, .experts = 2};
  auto writer = CountTableWriter::Create(scratch_ / "t.csv", shape);
  ASSERT_TRUE(writer.ok());
  const std::vector<ExpertCounts> passes = {
      {.pass = "7", .phase = RoutingPhase::kDecode, .counts = {1, 0, 2, uint64_t{1} << 60}},
      {.pass = "8", .phase = std::nullopt, .counts = {5, 6, 7, 8}}};
  for (const ExpertCounts& pass : passes) ASSERT_TRUE(writer->Add(pass).ok());
  ASSERT_TRUE(writer->Commit().ok());
  const auto table = ReadCountTable(scratch_ / "t.csv");
  ASSERT_TRUE(table.ok()) << ToString(table.errors());
  EXPECT_EQ(table->shape, shape);
  ASSERT_EQ(table->passes.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(table->passes[i].pass, passes[i].pass);
    EXPECT_EQ(table->passes[i].phase, passes[i].phase);
    EXPECT_EQ(table->passes[i].counts, passes[i].counts);
  }
}

TEST_F(CountTableTest, NamesCannotBreakTheTable) {
  auto writer = CountTableWriter::Create(scratch_ / "t.csv", {.moe_layers = {0}, .experts = 1});
  ASSERT_TRUE(writer->Add({.pass = "a,b\n\"c", .phase = {}, .counts = {1}}).ok());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(ReadCountTable(scratch_ / "t.csv")->passes[0].pass, "a_b__c");
}

TEST_F(CountTableTest, BadTablesAreRefusedWithTheirLine) {
  const std::string header = "pass,phase,layer,expert_0,expert_1\n";
  EXPECT_THAT(ErrorOf("a,b\n1,2\n"), HasSubstr("is no count table"));
  EXPECT_THAT(ErrorOf(header), HasSubstr("no rows"));
  EXPECT_THAT(ErrorOf(header + "p,decode,0,1\n"), HasSubstr("table.csv:2: has 4 columns of 5"));
  EXPECT_THAT(ErrorOf(header + "p,decode,0,1,-1\n"), HasSubstr("'-1' is no count"));
  EXPECT_THAT(ErrorOf(header + "p,later,0,1,1\n"), HasSubstr("phase 'later'"));
  EXPECT_THAT(ErrorOf(header + "p,mixed,1,1,1\np,mixed,0,1,1\n"), HasSubstr("not ascending"));
  EXPECT_THAT(ErrorOf(header + "p,mixed,0,1,1\np,mixed,1,1,1\nq,mixed,0,1,1\n"),
              HasSubstr("pass 'q' has 1 layers, the first one has 2"));
}

}  // namespace
}  // namespace moecast
