#include "sim/validate/expert_ids.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "sim/model/step_executor.h"
#include "sim/replay/replay_source.h"
#include "sim/run/routing_tables.h"
#include "tests/sim/run/tiny_study.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

/// A study of one case with `experts` experts in `layers` MoE layers.
Study StudyOf(int64_t experts, int64_t top_k, int64_t layers) {
  Study study;
  StudyCase c{.variant = "native", .load = "", .scenario = test::TinyScenario()};
  c.scenario.model = test::TinyMoeModel(experts, top_k);
  const LayerSpec moe = c.scenario.model.layers.back();
  c.scenario.model.layers.assign(static_cast<size_t>(layers), moe);
  study.cases.push_back(c);
  return study;
}

std::vector<RoutedSpan> SomeSpans() {
  return {{.sequence = SequenceId(1), .phase = RoutingPhase::kDecode, .first_row = 3, .rows = 1},
          {.sequence = SequenceId(0), .phase = RoutingPhase::kPrefill, .first_row = 2, .rows = 5},
          // Past the sequence's 8 decode rows: they begin again.
          {.sequence = SequenceId(2), .phase = RoutingPhase::kDecode, .first_row = 6, .rows = 4}};
}

TEST(ExpertIds, GiveTheHistogramThatTheSimulatorCounts) {
  for (const auto& [experts, top_k, layers] :
       {std::array<int64_t, 3>{8, 2, 1}, {64, 6, 3}, {100, 8, 2}, {128, 8, 5}}) {
    const Study study = StudyOf(experts, top_k, layers);
    const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
    const std::vector<RoutedSpan> spans = SomeSpans();
    ExpertIds ids(tables[0].table(), top_k);
    const std::span<const uint16_t> chosen = ids.Of(spans);
    const size_t tokens = 10;
    ASSERT_EQ(chosen.size(), static_cast<size_t>(layers * top_k) * tokens);
    ReplaySource source(tables[0].table(), {}, {.seed = 1, .replication = 0});
    std::vector<ExpertLoad> loads(static_cast<size_t>(layers));
    source.Count(spans, 0, loads);
    for (size_t layer = 0; layer < loads.size(); ++layer) {
      std::vector<double> counts(static_cast<size_t>(experts));
      for (const uint16_t id : chosen.subspan(layer * tokens * static_cast<size_t>(top_k),
                                              tokens * static_cast<size_t>(top_k))) {
        if (id != kNoExpert) ++counts[id];
      }
      EXPECT_EQ(std::ranges::max(counts), loads[layer].max_expert);
      EXPECT_EQ(std::ranges::count_if(counts, [](double n) { return n > 0; }),
                static_cast<int64_t>(loads[layer].distinct));
      double sum = 0;
      for (const double n : counts) sum += n;
      EXPECT_EQ(sum, loads[layer].assignments);
    }
  }
}

TEST(ExpertIds, LeaveSkippedSlotsAtTheEndOfATokenEmpty) {
  Study study = StudyOf(8, 4, 2);
  study.cases[0].scenario.experts = UniformTopK{.k = 3};
  const RoutingTables tables = LoadRoutingTables(study.cases, 1).value();
  ExpertIds ids(tables[0].table(), 4);
  const std::span<const uint16_t> chosen = ids.Of(SomeSpans());
  for (size_t slot = 0; slot < chosen.size(); slot += 4) {
    const std::set<uint16_t> kept(chosen.begin() + static_cast<std::ptrdiff_t>(slot),
                                  chosen.begin() + static_cast<std::ptrdiff_t>(slot) + 3);
    EXPECT_EQ(kept.size(), 3U) << "ids of a token differ";
    EXPECT_EQ(kept.count(kNoExpert), 0U);
    EXPECT_EQ(chosen[slot + 3], kNoExpert);
  }
}

TEST(ExpertIds, OfADenseModelAreNone) {
  ExpertIds ids(nullptr, 0);
  EXPECT_TRUE(ids.Of(SomeSpans()).empty());
}

}  // namespace
}  // namespace moecast
