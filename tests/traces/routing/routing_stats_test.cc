#include "traces/routing_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/support/temporary_folder.h"
#include "tests/traces/routing/routing_builders.h"
#include "traces/routing_stats_report.h"

namespace moecast {
namespace {

using test::MakeChunk;
using test::MakeHeader;
using test::WriteTrace;
using ::testing::HasSubstr;

/// One layer, rows given one by one.
PhaseRows Rows(std::vector<uint16_t> ids, std::vector<int64_t> sequence_first) {
  return {.ids = std::move(ids), .sequence_first = std::move(sequence_first)};
}

const BatchRouting& Of(const PhaseRouting& phase, BatchForming forming, int64_t batch) {
  for (const BatchRouting& of : phase.batches) {
    if (of.forming == forming && of.batch == batch) return of;
  }
  ADD_FAILURE() << "no batch of " << batch;
  return phase.batches.at(0);
}

bool Has(const PhaseRouting& phase, BatchForming forming, int64_t batch) {
  for (const BatchRouting& of : phase.batches) {
    if (of.forming == forming && of.batch == batch) return true;
  }
  return false;
}

TEST(RoutingStats, SmallTraceByHand) {
  const RoutingHeader header = MakeHeader(1, 4, 2);
  // Two sequences of two tokens.
  const PhaseRows rows = Rows({0, 1, 1, 2, 0, 1, 0, 1}, {0, 2, 4});
  const PhaseRouting phase = Measure(header, rows, RoutingPhase::kDecode,
                                     {.batches = {1, 2, 4}, .ranks = {2}, .draws = 100});
  EXPECT_EQ(phase.sequences, 2);
  EXPECT_EQ(phase.tokens, 4);
  EXPECT_EQ(phase.unknown_rows, 0u);
  // Counts 3 4 1 0 of 8.
  EXPECT_DOUBLE_EQ(phase.layers[0].max_over_mean, 2.0);
  EXPECT_DOUBLE_EQ(
      phase.layers[0].entropy_bits,
      -(3 / 8.0 * std::log2(3 / 8.0) + 0.5 * std::log2(0.5) + 1 / 8.0 * std::log2(1 / 8.0)));
  EXPECT_DOUBLE_EQ(*phase.adjacent_overlap, 1.5);  // pairs share 1 and 2; none across sequences
  EXPECT_DOUBLE_EQ(phase.independent_overlap, 1.0);
  const BatchRouting& pairs = Of(phase, BatchForming::kConsecutive, 2);
  EXPECT_EQ(pairs.batches_sampled, 2);
  EXPECT_DOUBLE_EQ(pairs.distinct_experts, 2.5);         // {0 1 2} and {0 1}
  EXPECT_DOUBLE_EQ(pairs.independent, 3.0);              // 4 (1 - (1/2)^2)
  EXPECT_DOUBLE_EQ(pairs.ranks[0].max_over_mean, 1.75);  // loads 3 1 and 4 0: 1.5 and 2
  EXPECT_DOUBLE_EQ(Of(phase, BatchForming::kConsecutive, 4).ranks[0].max_over_mean, 1.75);
}

TEST(RoutingStats, OnePerSequenceTakesEachSequenceOnce) {
  const RoutingHeader header = MakeHeader(1, 8, 1);
  const PhaseRows rows = Rows({0, 0, 1, 2, 2, 2}, {0, 2, 3, 6});
  const PhaseRouting phase =
      Measure(header, rows, RoutingPhase::kPrefill, {.batches = {3, 4}, .ranks = {1}, .draws = 50});
  EXPECT_DOUBLE_EQ(Of(phase, BatchForming::kOnePerSequence, 3).distinct_experts, 3.0);
  EXPECT_FALSE(Has(phase, BatchForming::kOnePerSequence, 4));  // there are three sequences
  EXPECT_FALSE(Has(phase, BatchForming::kConsecutive, 8));
  EXPECT_DOUBLE_EQ(Of(phase, BatchForming::kRandomTokens, 3).ranks[0].max_over_mean, 1.0);
}

TEST(RoutingStats, IndependentUniformRoutingFollowsTheClosedForm) {
  const RoutingHeader header = MakeHeader(4, 32, 4);
  const RoutingChunk chunk = MakeChunk(header, 0, RoutingPhase::kPrefill, 0, 6000);
  const PhaseRouting phase =
      Measure(header, {.ids = chunk.ids, .sequence_first = {0, 6000}}, RoutingPhase::kPrefill,
              {.batches = {4, 16, 64}, .ranks = {2}, .draws = 2000});
  for (const BatchForming forming : {BatchForming::kConsecutive, BatchForming::kRandomTokens}) {
    for (const int64_t batch : {4, 16, 64}) {
      const BatchRouting& of = Of(phase, forming, batch);
      EXPECT_NEAR(of.distinct_experts, of.independent, 0.15);
    }
  }
  EXPECT_NEAR(*phase.adjacent_overlap, 0.5, 0.02);
}

TEST(RoutingStats, UnknownRowsAreLeftOutAndCounted) {
  const RoutingHeader header = MakeHeader(1, 4, 2);
  const PhaseRows rows = Rows({0, 1, kUnknownExpert, kUnknownExpert, 0, 1}, {0, 3});
  const PhaseRouting phase =
      Measure(header, rows, RoutingPhase::kDecode, {.batches = {3}, .ranks = {2}, .draws = 10});
  EXPECT_EQ(phase.unknown_rows, 1u);
  EXPECT_DOUBLE_EQ(phase.layers[0].entropy_bits, 1.0);
  EXPECT_FALSE(phase.adjacent_overlap);
  EXPECT_DOUBLE_EQ(Of(phase, BatchForming::kConsecutive, 3).distinct_experts, 2.0);
}

TEST(RoutingStats, EqualSeedsGiveEqualReports) {
  const test::TemporaryFolder folder;
  const RoutingHeader header = MakeHeader(2, 16, 2);
  ASSERT_TRUE(WriteTrace(folder / "trace", header,
                         {MakeChunk(header, 0, RoutingPhase::kPrefill, 0, 40),
                          MakeChunk(header, 0, RoutingPhase::kDecode, 40, 30),
                          MakeChunk(header, 1, RoutingPhase::kDecode, 0, 30)})
                  .ok());
  const auto report = [&folder](uint64_t seed) {
    auto reader = RoutingReader::Open(folder / "trace");
    const RoutingStatsOptions options = {
        .batches = {2, 8}, .ranks = {4}, .draws = 20, .seed = {seed}};
    const auto stats = MeasureTrace(std::move(reader).value(), options);
    EXPECT_EQ(stats->phases.size(), 2u);
    EXPECT_EQ(stats->phases[1].sequences, 2);
    return RenderJson(*stats) + RenderText(*stats);
  };
  EXPECT_EQ(report(1), report(1));
  EXPECT_NE(report(1), report(2));
  EXPECT_THAT(report(1), AllOf(HasSubstr("\"seed\":1"), HasSubstr("drawn without replacement")));
}

}  // namespace
}  // namespace moecast
