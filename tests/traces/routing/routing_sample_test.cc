// What `trace stats` samples: gate scores and pairs of sequences.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/gate_routing.h"
#include "traces/routing_stats.h"
#include "traces/routing_stats_report.h"
#include "traces/sequence_similarity.h"

namespace moecast {
namespace {

using test::MakeChunk;
using test::MakeHeader;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SequenceSimilarity, PairsByHand) {
  const RoutingHeader header = MakeHeader(1, 4, 1);
  // Counts (2 0 0 0), (1 1 0 0), (0 0 1 0), and one sequence of which nothing was recorded.
  const PhaseRows rows = {.ids = {0, 0, 0, 1, 2, kUnknownExpert},
                          .sequence_first = {0, 2, 4, 5, 6},
                          .categories = {"a", "a", "b", "b"}};
  const SequenceSimilarity of = MeasureSimilarity(header, rows, Seed{1});
  EXPECT_EQ(of.sequences, 3);
  EXPECT_EQ(of.all.pairs, 3);
  EXPECT_NEAR(of.all.mean, std::sqrt(0.5) / 3, 1e-6);
  EXPECT_EQ(of.within.pairs, 1);
  EXPECT_NEAR(of.within.mean, std::sqrt(0.5), 1e-6);
  EXPECT_EQ(of.between.pairs, 2);
  EXPECT_NEAR(of.between.mean, 0, 1e-6);
}

TEST(SequenceSimilarity, WithoutCategoriesThereIsNoWithinAndBetween) {
  const RoutingHeader header = MakeHeader(1, 4, 1);
  const SequenceSimilarity of =
      MeasureSimilarity(header, {.ids = {0, 0}, .sequence_first = {0, 1, 2}}, Seed{1});
  EXPECT_EQ(of.all.pairs, 1);
  EXPECT_NEAR(of.all.mean, 1, 1e-6);
  EXPECT_EQ(of.within.pairs + of.between.pairs, 0);
}

TEST(SequenceSimilarity, ComparesAtMostTheStatedNumberOfSequences) {
  const RoutingHeader header = MakeHeader(1, 4, 1);
  PhaseRows rows;
  for (int64_t i = 0; i < 400; ++i) {
    rows.ids.push_back(static_cast<uint16_t>(i % 4));
    rows.sequence_first.push_back(i + 1);
  }
  const SequenceSimilarity of = MeasureSimilarity(header, rows, Seed{1});
  EXPECT_EQ(of.sequences, static_cast<int64_t>(kMaxSimilaritySequences));
  EXPECT_EQ(of.all.pairs, of.sequences * (of.sequences - 1) / 2);
  EXPECT_NEAR(of.all.mean, 0.25, 0.02);
}

TEST(GateRowSampler, TakesAllOfAFewAndLeavesOutWhatHasNoScore) {
  const RoutingHeader header = MakeHeader(2, 4, 2, true);
  RoutingChunk chunk = MakeChunk(header, 0, RoutingPhase::kDecode, 0, 2);
  chunk.ids = {0, 1, 2, 3, kUnknownExpert, kUnknownExpert, 1, 2};
  chunk.scores = {0.5F, 0.25F, 0, 0, 0.5F, 0.5F, 0.75F, 0.125F};
  GateRowSampler sampler(header, 2);
  sampler.Add(chunk);
  const GateRows rows = std::move(sampler).Take();
  EXPECT_THAT(rows.moe_layer, ElementsAre(0, 1));
  EXPECT_THAT(rows.scores, ElementsAre(0.5F, 0.25F, 0.75F, 0.125F));
}

TEST(GateRowSampler, TakesEvenlySpacedTokensUpToTheCap) {
  const RoutingHeader header = MakeHeader(1, 4, 2, true);
  const auto fit = static_cast<int64_t>(kMaxGateScores / 2);
  RoutingChunk chunk;
  chunk.tokens = fit / 8;
  chunk.ids.assign(static_cast<size_t>(chunk.tokens) * 2, 0);
  GateRowSampler sampler(header, static_cast<uint64_t>(2 * fit));
  for (int i = 0; i < 16; ++i) {
    chunk.scores.assign(chunk.ids.size(), static_cast<float>(i + 1));
    sampler.Add(chunk);
  }
  const GateRows rows = std::move(sampler).Take();
  ASSERT_EQ(std::ssize(rows.moe_layer), fit);
  EXPECT_EQ(std::count(rows.scores.begin(), rows.scores.end(), 1.0F), fit / 16 * 2);
  EXPECT_EQ(std::count(rows.scores.begin(), rows.scores.end(), 16.0F), fit / 16 * 2);
}

TEST(RoutingStats, CategoriesAndScoresComeFromTheTrace) {
  const test::TemporaryFolder folder;
  for (const bool has_scores : {false, true}) {
    const RoutingHeader header = MakeHeader(2, 16, 2, has_scores);
    RoutingWriter writer = RoutingWriter::Create(folder / "trace", header).value();
    for (const uint32_t sequence : {0U, 1U, 2U}) {
      ASSERT_TRUE(writer.Add(MakeChunk(header, sequence, RoutingPhase::kDecode, 0, 30)).ok());
      writer.Describe(SequenceId(sequence),
                      {.request_id = "", .category = sequence < 2 ? "a" : "b"});
    }
    ASSERT_TRUE(writer.Commit().ok());
    const RoutingStats stats =
        MeasureTrace(RoutingReader::Open(folder / "trace").value(), {.batches = {2}, .ranks = {4}})
            .value();
    const PhaseRouting& phase = stats.phases.at(0);
    EXPECT_EQ(phase.similarity.within.pairs, 1);
    EXPECT_EQ(phase.similarity.between.pairs, 2);
    EXPECT_EQ(phase.gate_rows.moe_layer.size(), has_scores ? 180u : 0u);
    EXPECT_EQ(phase.layers[0].popularity.size(), 16u);
    EXPECT_DOUBLE_EQ(phase.layers[0].popularity[0], phase.layers[0].max_over_mean);
    const bool says_none =
        RenderText(stats).find("The trace has no gate scores") != std::string::npos;
    EXPECT_EQ(says_none, !has_scores);
    EXPECT_THAT(RenderJson(stats), AllOf(HasSubstr("\"gate_scores\":null"),
                                         HasSubstr("\"within_category\":{\"pairs\":1")));
  }
}

}  // namespace
}  // namespace moecast
