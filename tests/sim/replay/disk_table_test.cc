// A table that lies on disk counts as one in memory.
#include <gtest/gtest.h>

#include "tests/sim/replay/random_trace.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

using test::RandomTrace;
using test::TableOf;
using test::TraceShape;

constexpr int64_t kLittleMemory = int64_t{1} << 20;  // less than a slab of rows

TEST(TableOnDisk, CountsAsOneInMemory) {
  test::ForAll("replay/disk", {.cases = 10}, [](RngStream& rng) {
    const TraceShape shape{.moe_layers = 5,
                           .experts = 128,
                           .top_k = 8,
                           .sequences = 6,
                           .max_rows = 400,
                           .unknown_ratio = 0.05};
    const auto trace = RandomTrace(shape, rng);
    const auto in_memory = TableOf(shape, trace);
    const auto on_disk = TableOf(shape, trace, NativeTopK{}, kLittleMemory);
    ASSERT_NE(on_disk, nullptr);
    ASSERT_EQ(in_memory->window_bytes(), 0);
    ASSERT_GT(on_disk->window_bytes(), 0);
    const LoadShape load{.expert_ranks = 4, .tile_rows = 16};
    ReplaySource expected(in_memory, load, Seed{});
    ReplaySource source(on_disk, load, Seed{});
    std::vector<ExpertLoad> loads(static_cast<size_t>(shape.moe_layers * load.expert_ranks));
    std::vector<ExpertLoad> wanted(loads.size());
    // Enough rows for the window to move many times.
    for (int step = 0; step < 100; ++step) {
      std::vector<RoutedSpan> spans;
      for (uint32_t s = 0; s < 6; ++s) {
        spans.push_back({SequenceId(s), RoutingPhase::kDecode, step, 1});
      }
      spans.push_back({SequenceId(0), RoutingPhase::kPrefill, step, 300});
      expected.Count(spans, 3, wanted);
      source.Count(spans, 3, loads);
      ASSERT_EQ(loads, wanted) << "step " << step;
    }
    EXPECT_EQ(source.notes(), expected.notes());
    source.AddToTotals({SequenceId(1), RoutingPhase::kPrefill, 0, 390});
    expected.AddToTotals({SequenceId(1), RoutingPhase::kPrefill, 0, 390});
    EXPECT_TRUE(std::ranges::equal(source.totals(), expected.totals()));
  });
}

TEST(TableOnDisk, ContentsOutliveReleasedMemory) {
  const TraceShape shape{.moe_layers = 3, .experts = 64, .top_k = 6, .max_rows = 50};
  RngStream rng(Seed{5}, "test/disk");
  const auto trace = RandomTrace(shape, rng);
  const auto table = TableOf(shape, trace, NativeTopK{}, kLittleMemory);
  const RoutingPhase phase =
      trace[0].first.tokens > 0 ? RoutingPhase::kPrefill : RoutingPhase::kDecode;
  const Line* const row = table->row(SequenceId(0), phase, 0);
  const Line before = *row;
  table->ReleaseMemory();
  EXPECT_TRUE(std::ranges::equal(before.words, table->row(SequenceId(0), phase, 0)->words));
  EXPECT_EQ(table->row(SequenceId(0), phase, 0), row);
}

}  // namespace
}  // namespace moecast
