// Experts stored in another format than the rest: their part of a rank's load, against a loop.
#include <gtest/gtest.h>

#include <vector>

#include "sim/base/rng.h"
#include "sim/replay/expert_counter.h"
#include "sim/replay/uniform_source.h"

namespace moecast {
namespace {

struct Case {
  RowLayout layout;
  LoadShape shape;
  std::vector<std::vector<int64_t>> counts;  // [moe_layer][expert]
};

/// Loads of the case, given to the counter as running counts.
std::vector<ExpertLoad> Counted(const Case& c) {
  ExpertCounter counter(c.layout, PortableCounterKernels());
  std::vector<uint16_t> later(static_cast<size_t>(c.layout.positions()));
  const std::vector<uint16_t> earlier(later.size());
  for (size_t layer = 0; layer < c.counts.size(); ++layer) {
    for (size_t expert = 0; expert < c.counts[layer].size(); ++expert) {
      later[layer * static_cast<size_t>(c.layout.stride()) + expert] =
          static_cast<uint16_t>(c.counts[layer][expert]);
    }
  }
  counter.AddDifference(later, earlier);
  std::vector<ExpertLoad> loads(static_cast<size_t>(c.layout.moe_layers * c.shape.expert_ranks));
  counter.Loads(c.shape, loads);
  return loads;
}

Case RandomCase(RngStream& rng) {
  Case c{.layout = {.moe_layers = 3, .experts = 24},
         .shape = {.expert_ranks = 4, .tile_rows = 8, .mixed_experts = {}},
         .counts = {}};
  for (int64_t expert = 0; expert < c.layout.experts; ++expert) {
    if (rng.NextBelow(3) == 0) c.shape.mixed_experts.push_back(expert);
  }
  for (int64_t layer = 0; layer < c.layout.moe_layers; ++layer) {
    c.counts.emplace_back();
    for (int64_t expert = 0; expert < c.layout.experts; ++expert) {
      c.counts.back().push_back(static_cast<int64_t>(rng.NextBelow(4) * rng.NextBelow(9)));
    }
  }
  return c;
}

TEST(MixedExperts, TheirDistinctAndPaddedRowsAreThoseOfALoop) {
  RngStream rng(Seed{.seed = 3}, "test/mixed", 0);
  for (int trial = 0; trial < 50; ++trial) {
    const Case c = RandomCase(rng);
    std::vector<ExpertLoad> expected(static_cast<size_t>(3 * 4));
    for (int64_t layer = 0; layer < 3; ++layer) {
      for (const int64_t expert : c.shape.mixed_experts) {
        const int64_t rows = c.counts[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
        ExpertLoad& load = expected[static_cast<size_t>(layer * 4 + expert / 6)];
        if (rows == 0) continue;
        load.mixed_distinct += 1;
        load.mixed_padded_rows += static_cast<double>((rows + 7) / 8 * 8);
      }
    }
    const std::vector<ExpertLoad> loads = Counted(c);
    for (size_t i = 0; i < loads.size(); ++i) {
      EXPECT_EQ(loads[i].mixed_distinct, expected[i].mixed_distinct);
      EXPECT_EQ(loads[i].mixed_padded_rows, expected[i].mixed_padded_rows);
      EXPECT_LE(loads[i].mixed_distinct, loads[i].distinct);
    }
  }
}

TEST(MixedExperts, AllOfThemAreTheWholeLoad) {
  RngStream rng(Seed{.seed = 4}, "test/mixed", 0);
  Case c = RandomCase(rng);
  c.shape.mixed_experts.clear();
  for (int64_t expert = 0; expert < c.layout.experts; ++expert) {
    c.shape.mixed_experts.push_back(expert);
  }
  for (const ExpertLoad& load : Counted(c)) {
    EXPECT_EQ(load.mixed_distinct, load.distinct);
    EXPECT_EQ(load.mixed_padded_rows, load.padded_rows);
  }
}

TEST(MixedExperts, UniformRoutingGivesThemTheirShare) {
  UniformSource source(1, 16, {2},
                       LoadShape{.expert_ranks = 2, .tile_rows = 1, .mixed_experts = {0, 1, 8}});
  std::vector<ExpertLoad> loads(2);
  const std::vector<RoutedSpan> spans{
      {.sequence = SequenceId(0), .phase = RoutingPhase::kDecode, .first_row = 0, .rows = 5}};
  source.Count(spans, 0, loads);
  EXPECT_DOUBLE_EQ(loads[0].mixed_distinct, loads[0].distinct * 2 / 8);
  EXPECT_DOUBLE_EQ(loads[1].mixed_distinct, loads[1].distinct * 1 / 8);
  EXPECT_DOUBLE_EQ(loads[0].mixed_padded_rows, loads[0].padded_rows * 2 / 8);
}

}  // namespace
}  // namespace moecast
