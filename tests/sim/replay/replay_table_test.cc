#include "sim/replay/replay_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/sim/replay/random_trace.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

RoutingHeader Header(int32_t layers, int32_t experts, int32_t top_k) {
  return test::HeaderOf({.moe_layers = layers, .experts = experts, .top_k = top_k});
}

RoutingChunk Chunk(uint32_t sequence, RoutingPhase phase, std::vector<uint16_t> ids,
                   int64_t tokens) {
  RoutingChunk chunk;
  chunk.sequence = SequenceId(sequence);
  chunk.phase = phase;
  chunk.tokens = tokens;
  chunk.ids = std::move(ids);
  return chunk;
}

constexpr auto kPrefill = RoutingPhase::kPrefill;
constexpr auto kDecode = RoutingPhase::kDecode;

std::vector<uint32_t> CountsOf(const ReplayTable& table, uint32_t sequence, RoutingPhase phase,
                               ReplayTable::Rows rows) {
  ExpertCounter counter(table.layout(), PortableCounterKernels());
  table.Count(SequenceId(sequence), phase, rows, counter);
  const std::span<const uint32_t> counts = counter.Counts();
  return {counts.begin(), counts.begin() + table.layout().experts};
}

TEST(ReplayTable, ARowHoldsTheKeptExpertsOfEachLayer) {
  ReplayTable::Builder builder(Header(2, 8, 3), LayerSchedule{.k_per_moe_layer = {1, 2}});
  ASSERT_TRUE(builder.Add(Chunk(0, kDecode, {5, 6, 7, 3, 1, 2}, 1)).ok());
  const ReplayTable table = std::move(builder).Finish().value();
  const Line* row = table.row(SequenceId(0), kDecode, 0);
  EXPECT_EQ(table.layout().stride(), 16);
  EXPECT_EQ(row->words[0], (uint64_t{1} << 5) | (uint64_t{1} << 19) | (uint64_t{1} << 17));
}

TEST(ReplayTable, SequencesAreNumberedByAppearanceWhateverTheirIds) {
  ReplayTable::Builder builder(Header(1, 8, 1), NativeTopK{});
  ASSERT_TRUE(builder.Add(Chunk(4'000'000'000, kPrefill, {1, 1}, 2)).ok());
  ASSERT_TRUE(builder.Add(Chunk(7, kPrefill, {2}, 1)).ok());
  ASSERT_TRUE(builder.Add(Chunk(7, kDecode, {3, 3, 3}, 3)).ok());
  const ReplayTable table = std::move(builder).Finish().value();
  EXPECT_EQ(table.sequence_count(), 2);
  EXPECT_EQ(table.row_count(SequenceId(0), kPrefill), 2);
  EXPECT_EQ(table.row_count(SequenceId(0), kDecode), 0);
  EXPECT_EQ(table.row_count(SequenceId(1), kPrefill), 1);
  EXPECT_EQ(table.row_count(SequenceId(1), kDecode), 3);
}

TEST(ReplayTable, EverySpanEqualsTheSumOfItsRows) {
  RngStream rng({.seed = 2, .replication = 0}, "test/table");
  const test::TraceShape shape{.moe_layers = 1, .experts = 8, .top_k = 2, .sequences = 1};
  std::vector<test::TraceSequence> trace = {{test::RandomChunk(shape, 700, rng), {}}};
  trace[0].second.phase = kDecode;
  const auto table = test::TableOf(shape, trace);
  ASSERT_NE(table, nullptr);
  std::vector<std::vector<uint32_t>> before = {std::vector<uint32_t>(8)};
  for (int64_t row = 0; row < 700; ++row) {
    before.push_back(before.back());
    for (size_t k = 0; k < 2; ++k) {
      ++before.back()[trace[0].first.ids[static_cast<size_t>(2 * row) + k]];
    }
  }
  for (int64_t first = 0; first <= 700; first += 23) {
    for (int64_t end = first; end <= 700; end += end > 680 ? 1 : 61) {
      std::vector<uint32_t> expected = before[static_cast<size_t>(end)];
      for (size_t e = 0; e < 8; ++e) expected[e] -= before[static_cast<size_t>(first)][e];
      EXPECT_EQ(CountsOf(*table, 0, kPrefill, {first, end - first}), expected)
          << first << " to " << end;
    }
  }
}

TEST(ReplayTable, UnknownRowsHaveNoExpertsAndAreCounted) {
  constexpr uint16_t kNone = kUnknownExpert;
  ReplayTable::Builder builder(Header(1, 8, 2), NativeTopK{});
  ASSERT_TRUE(builder.Add(Chunk(0, kPrefill, {1, 2, kNone, kNone, 3, 4, kNone, kNone}, 4)).ok());
  const ReplayTable table = std::move(builder).Finish().value();
  EXPECT_EQ(table.UnknownRows(SequenceId(0), kPrefill, {0, 4}), 2);
  EXPECT_EQ(table.UnknownRows(SequenceId(0), kPrefill, {1, 2}), 1);
  EXPECT_EQ(CountsOf(table, 0, kPrefill, {0, 4}), (std::vector<uint32_t>{0, 1, 1, 1, 1, 0, 0, 0}));
  EXPECT_EQ(table.selection().mean_kept, 2.0);
}

TEST(ReplayTable, SelectionNotesGiveMeanKeptAndKeptGateMass) {
  RoutingHeader header = Header(2, 8, 2);
  header.has_scores = true;
  RoutingChunk chunk = Chunk(0, kPrefill, {1, 2, 3, 4}, 1);
  chunk.scores = {0.5F, 0.25F, 0.75F, 0.5F};
  ReplayTable::Builder builder(header, LayerSchedule{.k_per_moe_layer = {1, 2}});
  ASSERT_TRUE(builder.Add(chunk).ok());
  const ReplayTable table = std::move(builder).Finish().value();
  EXPECT_EQ(table.selection().native_top_k, 2.0);
  EXPECT_EQ(table.selection().mean_kept, 1.5);
  EXPECT_EQ(table.selection().kept_gate_mass, 1.75 / 2.0);
}

TEST(ReplayTable, WithoutScoresTheKeptGateMassIsNotANumber) {
  ReplayTable::Builder builder(Header(1, 8, 2), NativeTopK{});
  ASSERT_TRUE(builder.Add(Chunk(0, kPrefill, {1, 2}, 1)).ok());
  EXPECT_TRUE(std::isnan(std::move(builder).Finish().value().selection().kept_gate_mass));
}

TEST(ReplayTable, AnEmptyTraceIsAnError) {
  ReplayTable::Builder builder(Header(1, 8, 2), NativeTopK{});
  ASSERT_TRUE(builder.Add(Chunk(0, kPrefill, {}, 0)).ok());
  const Result<ReplayTable> table = std::move(builder).Finish();
  ASSERT_FALSE(table.ok());
  EXPECT_THAT(ToString(table.errors()), HasSubstr("no rows"));
}

TEST(ReplayTable, RowsOfOneSequenceThatAreSplitByAnotherAreAnError) {
  ReplayTable::Builder builder(Header(1, 8, 1), NativeTopK{});
  ASSERT_TRUE(builder.Add(Chunk(0, kDecode, {1}, 1)).ok());
  ASSERT_TRUE(builder.Add(Chunk(0, kDecode, {2}, 1)).ok());
  ASSERT_TRUE(builder.Add(Chunk(1, kDecode, {3}, 1)).ok());
  const Status status = builder.Add(Chunk(0, kDecode, {4}, 1));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(ToString(status.errors()), HasSubstr("decode rows of sequence 0 are not adjacent"));
}

TEST(ReplayTableDeathTest, ARepeatedExpertInARowIsAProgramError) {
  ReplayTable::Builder builder(Header(1, 8, 2), NativeTopK{});
  EXPECT_DEATH(static_cast<void>(builder.Add(Chunk(0, kDecode, {3, 3}, 1))), "word & bit");
}

}  // namespace
}  // namespace moecast
