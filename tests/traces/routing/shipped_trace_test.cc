// The trace that comes with moecast is what docs/traces.md says it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "traces/routing_reader.h"
#include "traces/routing_stats.h"

namespace moecast {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::filesystem::path ShippedTrace() {
  return std::filesystem::path(MOECAST_DESCRIPTIONS).parent_path() /
         "data/moecast-reference.moetrace";
}

TEST(ShippedTrace, HoldsPromptsAndAnswersOfFourKindsOfText) {
  const auto reader = RoutingReader::Open(ShippedTrace());
  ASSERT_TRUE(reader.ok()) << ToString(reader.errors());
  EXPECT_EQ(reader->totals().prefill_tokens, 21504U);
  EXPECT_EQ(reader->totals().decode_tokens, 30464U);
  EXPECT_EQ(reader->totals().unknown_rows, 0U);
  std::map<std::string, int> kinds;
  for (const RoutingSequence& sequence : reader->sequences()) ++kinds[sequence.category];
  EXPECT_THAT(kinds, ElementsAre(Pair("code", 64), Pair("data", 64), Pair("english", 64),
                                 Pair("german", 64)));
  EXPECT_LE(std::filesystem::file_size(ShippedTrace()), 15'000'000U);
}

TEST(ShippedTrace, RecordsSixteenRanksWithFallingScores) {
  auto reader = RoutingReader::Open(ShippedTrace());
  ASSERT_TRUE(reader.ok()) << ToString(reader.errors());
  EXPECT_EQ(reader->header().top_k, 8);
  EXPECT_EQ(reader->header().further_ranks, 8);
  EXPECT_THAT(reader->header().moe_layers, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  RoutingChunk chunk;
  while (true) {
    const Result<bool> more = reader->Next(chunk);
    ASSERT_TRUE(more.ok()) << ToString(more.errors());
    if (!*more) break;
    for (size_t row = 0; row < chunk.scores.size(); row += 8) {
      const auto begin = chunk.scores.begin() + static_cast<std::ptrdiff_t>(row);
      ASSERT_TRUE(std::is_sorted(begin, begin + 8, std::greater<>()));
      ASSERT_LE(chunk.further_scores[row], chunk.scores[row + 7]);
    }
  }
}

// Choices of a trained router: neighbours share experts, and a batch touches fewer than independent
// draws would.
TEST(ShippedTrace, IsNothingLikeIndependentDraws) {
  auto reader = RoutingReader::Open(ShippedTrace());
  ASSERT_TRUE(reader.ok()) << ToString(reader.errors());
  RoutingStatsOptions options;
  options.batches = {16};
  options.draws = 200;
  const auto stats = MeasureTrace(std::move(reader).value(), options);
  ASSERT_TRUE(stats.ok()) << ToString(stats.errors());
  ASSERT_EQ(stats->phases.size(), 2U);
  for (const PhaseRouting& phase : stats->phases) {
    EXPECT_GT(phase.adjacent_overlap.value(), 2 * phase.independent_overlap);
    for (const BatchRouting& batch : phase.batches) {
      if (batch.forming != BatchForming::kConsecutive) continue;
      EXPECT_LT(batch.distinct_experts, 0.8 * batch.independent);
    }
  }
}

}  // namespace
}  // namespace moecast
