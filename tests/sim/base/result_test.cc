#include "sim/base/result.h"

#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "sim/base/check.h"

namespace moecast {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return Error{.message = "odd", .where = std::to_string(x)};
  return x / 2;
}

Result<int> Quarter(int x) {
  SIM_TRY(const int half, Half(x));
  SIM_TRY(const int quarter, Half(half));
  return quarter;
}

Status CheckEven(int x) {
  SIM_RETURN_IF_ERROR(Half(x));
  return Ok();
}

TEST(Result, TryPassesValuesOnAndReturnsTheFirstErrors) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).errors(), (Errors{{.message = "odd", .where = "3"}}));
  EXPECT_EQ(Quarter(5).errors(), (Errors{{.message = "odd", .where = "5"}}));
}

TEST(Result, ReturnIfErrorKeepsEveryError) {
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_EQ(CheckEven(3).errors().size(), 1U);
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(4);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 4);
}

TEST(Result, ErrorsPrintOnePerLineWithTheirPlace) {
  const Errors errors = {{.message = "must be positive", .where = "a.yaml:3:5: replicas"},
                         {.message = "no place", .where = ""}};
  EXPECT_EQ(ToString(errors), "a.yaml:3:5: replicas: must be positive\nno place\n");
}

TEST(ResultDeathTest, TheOtherAlternativeIsAProgramError) {
  EXPECT_DEATH((void)Half(1).value(), "check failed: ok\\(\\)");
  EXPECT_DEATH((void)Half(2).errors(), "check failed: !ok\\(\\)");
  EXPECT_DEATH((void)Result<int>(Errors{}), "check failed");
}

TEST(SimCheckDeathTest, PrintsPlaceExpressionAndSimulatedTime) {
  const SimContext outer = {.now_ns = 7, .event = 1};
  const SimContext inner = {.now_ns = 1'500'000'000, .event = 42};
  const ScopedSimContext scope(outer);
  {
    const ScopedSimContext nested(inner);
    EXPECT_DEATH(SIM_CHECK(1 + 1 == 3),
                 "result_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3\n"
                 "  at simulated time 1500000000 ns, event 42");
  }
  EXPECT_DEATH(SIM_CHECK(false), "at simulated time 7 ns, event 1");
}

TEST(SimCheckDeathTest, OutsideASimulationThereIsNoTime) {
  EXPECT_EXIT(SIM_CHECK(false), ::testing::KilledBySignal(SIGABRT), "check failed: false\n$");
}

}  // namespace
}  // namespace moecast
