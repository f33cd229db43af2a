#include "sim/cost/rule_cost.h"

#include <gtest/gtest.h>

namespace moecast {
namespace {

RuleCosts Costs() {
  return RuleCosts({{.rule = SelectionKind::kOea,
                     .tokens = {8, 16, 64},
                     .extra = {Seconds(1e-6), Seconds(2e-6), Seconds(4e-6)}}});
}

TEST(RuleCosts, AreLinearBetweenMeasuredTokens) {
  EXPECT_DOUBLE_EQ(Costs().Extra(SelectionKind::kOea, 12).count(), 1.5e-6);
  EXPECT_DOUBLE_EQ(Costs().Extra(SelectionKind::kOea, 16).count(), 2e-6);
  EXPECT_DOUBLE_EQ(Costs().Extra(SelectionKind::kOea, 40).count(), 3e-6);
}

TEST(RuleCosts, AreConstantBelowAndPerTokenAbove) {
  EXPECT_DOUBLE_EQ(Costs().Extra(SelectionKind::kOea, 1).count(), 1e-6);
  EXPECT_DOUBLE_EQ(Costs().Extra(SelectionKind::kOea, 128).count(), 8e-6);
}

TEST(RuleCosts, ARuleThatIsNotListedAddsNothing) {
  EXPECT_EQ(Costs().Extra(SelectionKind::kNative, 16).count(), 0);
  EXPECT_EQ(Costs().Extra(SelectionKind::kXShare, 16).count(), 0);
}

}  // namespace
}  // namespace moecast
