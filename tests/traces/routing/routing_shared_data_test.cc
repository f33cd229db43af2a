// The real traces under ../shared/data: imported through the shipped descriptions, their published
// readings are reproduced, and the shipped synthetic twins come near them.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "tests/support/temporary_folder.h"
#include "traces/routing_import.h"
#include "traces/routing_stats.h"
#include "traces/routing_synthesis.h"
#include "traces/routing_synthesis_spec.h"

namespace moecast {
namespace {

const std::filesystem::path kRouting = std::filesystem::path(MOECAST_SHARED_DATA) / "routing";
const std::filesystem::path kDescriptions = MOECAST_DESCRIPTIONS;

/// Imports with a shipped description and measures the one phase there is.
Result<PhaseRouting> Import(const std::string& description, const std::string& folder,
                            const RoutingStatsOptions& options) {
  const test::TemporaryFolder scratch;
  SIM_TRY(const RoutingImport import,
          LoadRoutingImport(kDescriptions / description, {.data = kRouting / folder, .drop = {}}));
  SIM_TRY(const RoutingImportNotes notes, ImportRouting(import, scratch / "trace", {}));
  static_cast<void>(notes);
  SIM_TRY(RoutingReader reader, RoutingReader::Open(scratch / "trace"));
  SIM_TRY(RoutingStats stats, MeasureTrace(std::move(reader), options));
  return stats.phases.at(0);
}

/// Draws a shipped synthetic trace and measures `phase`.
PhaseRouting Synthesise(const std::string& description, RoutingPhase phase,
                        const RoutingStatsOptions& options) {
  const auto trace = LoadSyntheticTrace(kDescriptions / description).value();
  RoutingSynthesiser synthesiser(trace.routing, trace.header, Seed{trace.seed});
  PhaseRows rows;
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) {
    if (chunk.phase != phase) continue;
    rows.ids.insert(rows.ids.end(), chunk.ids.begin(), chunk.ids.end());
    const int64_t end = rows.sequence_first.back() + chunk.tokens;
    rows.sequence_first.push_back(end);
  }
  return Measure(trace.header, rows, phase, options);
}

const BatchRouting& Of(const PhaseRouting& phase, BatchForming forming, int64_t batch) {
  for (const BatchRouting& of : phase.batches) {
    if (of.forming == forming && of.batch == batch) return of;
  }
  ADD_FAILURE() << "no batch of " << batch;
  return phase.batches.at(0);
}

class RealRouting : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kRouting)) GTEST_SKIP() << "needs " << kRouting;
  }
};

TEST_F(RealRouting, GptOss20bReadings) {
  const auto phase = Import("gpt_oss_20b.yaml", "gptoss20b",
                            {.batches = {4, 8, 16, 32, 64, 128}, .ranks = {}, .draws = 10000});
  ASSERT_TRUE(phase.ok()) << ToString(phase.errors());
  EXPECT_EQ(phase->sequences, 703);
  EXPECT_EQ(phase->tokens, 215438);
  EXPECT_EQ(phase->phase, RoutingPhase::kDecode);
  EXPECT_NEAR(*phase->adjacent_overlap, 1.75, 0.005);
  const std::map<int64_t, std::pair<double, double>> readings = {
      {4, {12.0, 13.2}},  {8, {17.8, 21.0}},  {16, {23.2, 28.2}},
      {32, {26.9, 31.6}}, {64, {29.2, 32.0}}, {128, {30.5, 32.0}}};
  for (const auto& [batch, reading] : readings) {
    const BatchRouting& of = Of(*phase, BatchForming::kOnePerSequence, batch);
    EXPECT_NEAR(of.distinct_experts, reading.first, 0.1) << "batch " << batch;
    EXPECT_NEAR(of.independent, reading.second, 0.06) << "batch " << batch;
  }
}

TEST_F(RealRouting, GptOss20bWithoutRepetitions) {
  const auto import =
      LoadRoutingImport(kDescriptions / "gpt_oss_20b.yaml",
                        {.data = kRouting / "gptoss20b", .drop = {{"has_repetition", "1"}}});
  ASSERT_TRUE(import.ok());
  const test::TemporaryFolder scratch;
  const auto notes = ImportRouting(*import, scratch / "trace", {});
  ASSERT_TRUE(notes.ok());
  EXPECT_EQ(notes->sequences, 494);
  EXPECT_EQ(notes->dropped_sequences, 209);
}

TEST_F(RealRouting, EsftLawReadings) {
  const auto phase = Import("esft_law.yaml", "esft_deepseek_v2_lite",
                            {.batches = {16, 64, 256, 1024}, .ranks = {8}, .draws = 4000});
  ASSERT_TRUE(phase.ok()) << ToString(phase.errors());
  EXPECT_EQ(phase->sequences, 33);
  EXPECT_EQ(phase->tokens, 8327);
  EXPECT_NEAR(Of(*phase, BatchForming::kConsecutive, 16).distinct_experts, 39.35, 0.005);
  EXPECT_NEAR(Of(*phase, BatchForming::kOnePerSequence, 16).distinct_experts, 46.0, 0.3);
  EXPECT_NEAR(Of(*phase, BatchForming::kRandomTokens, 16).distinct_experts, 45.9, 0.3);
  EXPECT_NEAR(Of(*phase, BatchForming::kConsecutive, 16).independent, 50.8, 0.06);
  const std::map<int64_t, double> imbalance = {{16, 1.72}, {64, 1.52}, {256, 1.42}, {1024, 1.39}};
  for (const auto& [batch, reading] : imbalance) {
    const BatchRouting& of = Of(*phase, BatchForming::kConsecutive, batch);
    EXPECT_NEAR(of.ranks[0].max_over_mean, reading, 0.005) << "batch " << batch;
  }
}

TEST_F(RealRouting, OtherEsftTasksImport) {
  const RoutingStatsOptions options = {.batches = {1}, .ranks = {}, .draws = 1};
  const auto intent = Import("esft_intent.yaml", "esft_deepseek_v2_lite", options);
  ASSERT_TRUE(intent.ok()) << ToString(intent.errors());
  EXPECT_EQ(intent->sequences, 127);
  EXPECT_EQ(intent->tokens, 8222);
  const auto summary = Import("esft_summary.yaml", "esft_deepseek_v2_lite", options);
  ASSERT_TRUE(summary.ok()) << ToString(summary.errors());
  EXPECT_EQ(summary->sequences, 13);
  EXPECT_EQ(summary->tokens, 8479);
}

// The readings again, so this needs no data: what docs/model/synthetic_routing.md claims of the
// fit.
TEST(SyntheticTwin, DeepSeekV2LiteIsNearTheEsftLawReadings) {
  const PhaseRouting phase = Synthesise("synthetic_deepseek_v2_lite.yaml", RoutingPhase::kPrefill,
                                        {.batches = {16, 1024}, .ranks = {8}, .draws = 1000});
  EXPECT_NEAR(Of(phase, BatchForming::kConsecutive, 16).distinct_experts, 39.35, 0.8);
  EXPECT_NEAR(Of(phase, BatchForming::kOnePerSequence, 16).distinct_experts, 46.0, 0.6);
  EXPECT_NEAR(Of(phase, BatchForming::kConsecutive, 16).ranks[0].max_over_mean, 1.72, 0.07);
  EXPECT_NEAR(Of(phase, BatchForming::kConsecutive, 1024).ranks[0].max_over_mean, 1.39, 0.04);
}

TEST(SyntheticTwin, GptOss20bIsNearItsReadings) {
  const PhaseRouting phase =
      Synthesise("synthetic_gpt_oss_20b.yaml", RoutingPhase::kDecode,
                 {.batches = {4, 8, 16, 32, 64, 128}, .ranks = {}, .draws = 1000});
  EXPECT_NEAR(*phase.adjacent_overlap, 1.75, 0.12);
  const std::map<int64_t, double> readings = {{4, 12.0},  {8, 17.8},  {16, 23.2},
                                              {32, 26.9}, {64, 29.2}, {128, 30.5}};
  for (const auto& [batch, reading] : readings) {
    EXPECT_NEAR(Of(phase, BatchForming::kOnePerSequence, batch).distinct_experts, reading, 0.4)
        << "batch " << batch;
  }
}

}  // namespace
}  // namespace moecast
