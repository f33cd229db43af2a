#include "calibration/import/routing_law.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace moecast::calibration {
namespace {

/// The documented rule, token by token.
ExpertLoad BalancedOneByOne(const LayerShape& s, int64_t tile) {
  const int64_t stride = (s.experts + s.top_k - 1) / s.top_k;
  std::vector<int64_t> counts(static_cast<size_t>(s.experts));
  for (int64_t t = 0; t < s.tokens; ++t) {
    for (int64_t i = 0; i < s.top_k; ++i) {
      const int64_t base = s.tokens >= stride ? t : t * stride / s.tokens;
      ++counts[static_cast<size_t>((base + i * stride) % s.experts)];
    }
  }
  ExpertLoad load;
  for (int64_t e = 0; e < s.experts / s.ranks; ++e) {
    const int64_t n = counts[static_cast<size_t>(e)];
    load.assignments += static_cast<double>(n);
    load.distinct += n > 0 ? 1 : 0;
    load.padded_rows += static_cast<double>((n + tile - 1) / tile * tile);
    load.max_expert = std::max(load.max_expert, static_cast<double>(n));
  }
  return load;
}

TEST(RoutingLaw, BalancedAgreesWithTheRuleTokenByToken) {
  for (const int64_t tokens : {1, 2, 3, 7, 15, 16, 17, 100, 1000}) {
    for (const int64_t ranks : {1, 2, 8}) {
      const LayerShape shape{.tokens = tokens, .experts = 128, .top_k = 8, .ranks = ranks};
      EXPECT_EQ(BalancedLoad(shape, 16), BalancedOneByOne(shape, 16)) << tokens << " " << ranks;
    }
  }
}

TEST(RoutingLaw, BalancedTouchesAsManyExpertsAsItCan) {
  const ExpertLoad few = BalancedLoad({.tokens = 2, .experts = 64, .top_k = 8}, 1);
  EXPECT_EQ(few.distinct, 16);
  EXPECT_EQ(few.max_expert, 1);
  const ExpertLoad many = BalancedLoad({.tokens = 64, .experts = 64, .top_k = 8}, 1);
  EXPECT_EQ(many.distinct, 64);
  EXPECT_EQ(many.max_expert, 8);
}

TEST(RoutingLaw, PowerLawKeepsEveryAssignmentOnOneRank) {
  for (const int64_t tokens : {1, 4, 16, 333, 4096}) {
    const ExpertLoad load =
        PowerLawLoad({.tokens = tokens, .experts = 128, .top_k = 8}, 1.2, 16, 4);
    EXPECT_DOUBLE_EQ(load.assignments, static_cast<double>(8 * tokens));
    EXPECT_LE(load.max_expert, static_cast<double>(tokens));
    EXPECT_GE(load.padded_rows, load.assignments);
    EXPECT_LE(load.distinct, 128);
  }
}

TEST(RoutingLaw, PowerLawIsMoreUnevenThanBalancedAndMoreSoForALargerExponent) {
  const LayerShape shape{.tokens = 1024, .experts = 128, .top_k = 8};
  const double even = BalancedLoad(shape, 1).max_expert;
  const double mild = PowerLawLoad(shape, 1.01, 1, 32).max_expert;
  const double steep = PowerLawLoad(shape, 1.5, 1, 32).max_expert;
  EXPECT_GT(mild, 2 * even);
  EXPECT_GT(steep, mild);
}

TEST(RoutingLaw, TheFullestRankHoldsAtLeastItsShare) {
  const LayerShape shape{.tokens = 512, .experts = 64, .top_k = 6, .ranks = 8};
  const ExpertLoad load = PowerLawLoad(shape, 1.01, 16, 8);
  EXPECT_GT(load.assignments, 512.0 * 6 / 8);
  EXPECT_LE(load.distinct, 8);
}

TEST(RoutingLaw, SameDrawsEveryTime) {
  const LayerShape shape{.tokens = 77, .experts = 32, .top_k = 4, .ranks = 4};
  EXPECT_EQ(PowerLawLoad(shape, 1.2, 16, 3), PowerLawLoad(shape, 1.2, 16, 3));
}

}  // namespace
}  // namespace moecast::calibration
