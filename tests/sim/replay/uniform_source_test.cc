// The closed form against Monte Carlo draws and against published values.
#include "sim/replay/uniform_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/support/property.h"

namespace moecast {
namespace {

/// Adds `copies` of one token's k different uniform experts.
void AddToken(const UniformRank& rank, int64_t copies, std::vector<int64_t>& counts,
              RngStream& rng) {
  std::vector<size_t> experts(counts.size());
  std::iota(experts.begin(), experts.end(), size_t{0});
  for (size_t i = 0; i < static_cast<size_t>(rank.k); ++i) {
    std::swap(experts[i], experts[i + rng.NextBelow(experts.size() - i)]);
    counts[experts[i]] += copies;
  }
}

ExpertLoad DrawnLoad(const UniformRank& rank, const UniformBatch& batch, RngStream& rng) {
  std::vector<int64_t> counts(static_cast<size_t>(rank.experts));
  AddToken(rank, 1 + batch.padding, counts, rng);
  for (int64_t row = 1; row < batch.rows; ++row) AddToken(rank, 1, counts, rng);
  counts.resize(static_cast<size_t>(rank.rank_experts));
  ExpertLoad load;
  for (const int64_t n : counts) {
    load.assignments += static_cast<double>(n);
    load.distinct += n > 0 ? 1 : 0;
    const int64_t tiles = (n + rank.tile_rows - 1) / rank.tile_rows;
    load.padded_rows += static_cast<double>(tiles * rank.tile_rows);
    load.max_expert = std::max(load.max_expert, static_cast<double>(n));
  }
  return load;
}

ExpertLoad MeanOfDraws(const UniformRank& rank, const UniformBatch& batch, int draws,
                       RngStream& rng) {
  ExpertLoad mean;
  for (int i = 0; i < draws; ++i) {
    const ExpertLoad load = DrawnLoad(rank, batch, rng);
    mean.assignments += load.assignments / draws;
    mean.distinct += load.distinct / draws;
    mean.padded_rows += load.padded_rows / draws;
    mean.max_expert += load.max_expert / draws;
  }
  return mean;
}

TEST(UniformLoad, AgreesWithMonteCarloDraws) {
  constexpr UniformRank kRanks[] = {{.experts = 64, .rank_experts = 64, .k = 6, .tile_rows = 8},
                                    {.experts = 128, .rank_experts = 16, .k = 8, .tile_rows = 16},
                                    {.experts = 8, .rank_experts = 4, .k = 2, .tile_rows = 1},
                                    {.experts = 60, .rank_experts = 15, .k = 4, .tile_rows = 64}};
  RngStream rng({.seed = 6, .replication = 0}, "test/uniform");
  for (const UniformRank& rank : kRanks) {
    for (const UniformBatch batch :
         {UniformBatch{1, 0}, UniformBatch{16, 0}, UniformBatch{130, 0}, UniformBatch{5, 27}}) {
      SCOPED_TRACE(::testing::Message() << rank.experts << " experts, " << batch.rows << " rows");
      const ExpertLoad expected = ExpectedUniformLoad(rank, batch);
      const ExpertLoad drawn = MeanOfDraws(rank, batch, 1500, rng);
      EXPECT_NEAR(drawn.assignments, expected.assignments, 0.03 * expected.assignments + 0.05);
      EXPECT_NEAR(drawn.distinct, expected.distinct, 0.02 * expected.distinct + 0.05);
      EXPECT_NEAR(drawn.padded_rows, expected.padded_rows, 0.03 * expected.padded_rows + 0.5);
      EXPECT_NEAR(drawn.max_expert, expected.max_expert, 0.04 * expected.max_expert + 0.02);
    }
  }
}

TEST(UniformLoad, DistinctExpertsAreThePublishedOnes) {
  const auto distinct = [](int64_t experts, int64_t k, int64_t rows) {
    return std::round(ExpectedUniformLoad({.experts = experts, .rank_experts = experts, .k = k},
                                          {.rows = rows, .padding = 0})
                          .distinct);
  };
  EXPECT_EQ(distinct(256, 8, 8), 57);
  EXPECT_EQ(distinct(256, 8, 32), 163);
  EXPECT_EQ(distinct(128, 8, 16), 82);
  EXPECT_EQ(distinct(64, 6, 64), 64);
}

TEST(UniformLoad, WithOneTokenOrWithEveryExpertChosenAllFiguresAreExact) {
  const ExpertLoad one = ExpectedUniformLoad(
      {.experts = 8, .rank_experts = 8, .k = 2, .tile_rows = 16}, {.rows = 1, .padding = 0});
  EXPECT_DOUBLE_EQ(one.assignments, 2);
  EXPECT_DOUBLE_EQ(one.distinct, 2);
  EXPECT_DOUBLE_EQ(one.padded_rows, 32);
  EXPECT_DOUBLE_EQ(one.max_expert, 1);
  const ExpertLoad all = ExpectedUniformLoad(
      {.experts = 8, .rank_experts = 4, .k = 8, .tile_rows = 16}, {.rows = 20, .padding = 3});
  EXPECT_EQ(all,
            (ExpertLoad{.assignments = 92, .distinct = 4, .padded_rows = 128, .max_expert = 23}));
}

TEST(UniformLoad, TilesOfOneRowPadNothing) {
  test::ForAll("uniform/tile1", {.cases = 100}, [](RngStream& rng) {
    const auto experts = static_cast<int64_t>(1 + rng.NextBelow(512));
    const auto k = static_cast<int64_t>(1 + rng.NextBelow(static_cast<uint64_t>(experts)));
    const UniformBatch batch{static_cast<int64_t>(1 + rng.NextBelow(20'000)),
                             static_cast<int64_t>(rng.NextBelow(64))};
    const ExpertLoad load =
        ExpectedUniformLoad({.experts = experts, .rank_experts = experts, .k = k}, batch);
    EXPECT_NEAR(load.padded_rows, load.assignments, 1e-9 * load.assignments);
    EXPECT_GE(load.max_expert * (1 + 1e-12), load.assignments / static_cast<double>(experts));
    EXPECT_LE(load.max_expert, static_cast<double>(batch.rows + batch.padding));
    EXPECT_LE(load.distinct, static_cast<double>(experts));
  });
}

TEST(UniformSource, EveryRankOfALayerGetsTheLoadOfItsTopK) {
  const LoadShape shape{.expert_ranks = 2, .tile_rows = 8};
  UniformSource source(3, 16, {4, 2, 4}, shape);
  const std::vector<RoutedSpan> spans = {{SequenceId(0), RoutingPhase::kPrefill, 0, 10},
                                         {SequenceId(0), RoutingPhase::kDecode, 5, 1}};
  std::vector<ExpertLoad> loads(6);
  source.Count(spans, 2, loads);
  const auto expected = [](int64_t k) {
    return ExpectedUniformLoad({.experts = 16, .rank_experts = 8, .k = k, .tile_rows = 8},
                               {.rows = 11, .padding = 2});
  };
  EXPECT_EQ(loads, (std::vector<ExpertLoad>{expected(4), expected(4), expected(2), expected(2),
                                            expected(4), expected(4)}));
  EXPECT_EQ(source.notes(),
            (RoutingNotes{.prefill_rows = 10, .decode_rows = 1, .padding_rows = 2}));
}

TEST(UniformSource, AnEmptyStepHasNoLoad) {
  UniformSource source(1, 16, {4}, {});
  std::vector<ExpertLoad> loads(1, ExpertLoad{.assignments = 9});
  source.Count({}, 0, loads);
  EXPECT_EQ(loads, std::vector<ExpertLoad>(1));
}

}  // namespace
}  // namespace moecast
