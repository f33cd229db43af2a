// ReplaySource against counting by plain loops, on random shapes and steps.
#include "sim/replay/replay_source.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/sim/replay/random_trace.h"

namespace moecast {
namespace {

using testing::NaiveCounter;
using testing::RandomTrace;
using testing::SupportedKernels;
using testing::TableOf;
using testing::TraceShape;

int64_t Below(RngStream& rng, int64_t bound) {
  return static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(bound)));
}

TraceShape RandomShape(RngStream& rng) {
  constexpr int64_t kExperts[] = {8, 16, 32, 60, 64, 72, 96, 128, 160, 256, 384, 512};
  TraceShape shape;
  shape.experts = kExperts[rng.NextBelow(std::size(kExperts))];
  shape.top_k = 1 + Below(rng, std::min<int64_t>(12, shape.experts));
  shape.moe_layers = rng.NextBelow(4) == 0 ? 1 + Below(rng, 100) : 1 + Below(rng, 12);
  shape.sequences = 1 + Below(rng, 6);
  shape.max_rows = rng.NextBelow(3) == 0 ? 700 : 40;
  shape.unknown_ratio = rng.NextBelow(2) == 0 ? 0.05 : 0;
  if (shape.moe_layers * shape.max_rows > 8000) shape.max_rows = 60;
  return shape;
}

LoadShape RandomLoadShape(int64_t experts, RngStream& rng) {
  std::vector<int64_t> ranks;
  for (int64_t r = 1; r <= experts; ++r) {
    if (experts % r == 0) ranks.push_back(r);
  }
  return {.expert_ranks = ranks[rng.NextBelow(ranks.size())],
          .tile_rows = int64_t{1} << rng.NextBelow(9)};
}

std::vector<RoutedSpan> RandomStep(const TraceShape& shape, RngStream& rng) {
  std::vector<RoutedSpan> spans;
  const int64_t decodes = Below(rng, 4) == 0 ? Below(rng, 513) : Below(rng, 40);
  const auto sequence = [&] {
    return SequenceId(static_cast<uint32_t>(Below(rng, shape.sequences)));
  };
  for (int64_t i = 0; i < decodes; ++i) {
    spans.push_back({sequence(), RoutingPhase::kDecode, Below(rng, 2 * shape.max_rows), 1});
  }
  for (int64_t i = Below(rng, 4); i > 0; --i) {
    spans.push_back({sequence(), RoutingPhase::kPrefill, Below(rng, shape.max_rows),
                     Below(rng, 2 * shape.max_rows)});
  }
  return spans;
}

TEST(ReplaySource, EveryInstructionSetEqualsPlainLoopsOnRandomSteps) {
  for (uint64_t trial = 0; trial < 120; ++trial) {
    SCOPED_TRACE(trial);
    RngStream rng({.seed = 7, .replication = 0}, "test/replay", trial);
    const TraceShape shape = RandomShape(rng);
    const auto trace = RandomTrace(shape, rng);
    const auto table = TableOf(shape, trace);
    ASSERT_NE(table, nullptr);
    const LoadShape load = RandomLoadShape(shape.experts, rng);
    std::vector<ReplaySource> sources;
    for (const CounterKernels* kernels : SupportedKernels()) {
      sources.emplace_back(table, load, Seed{}, *kernels);
    }
    for (int step = 0; step < 4; ++step) {
      const std::vector<RoutedSpan> spans = RandomStep(shape, rng);
      const int64_t padding = Below(rng, 3) == 0 ? Below(rng, 50) : 0;
      NaiveCounter naive(shape, trace, shape.top_k);
      for (const RoutedSpan& span : spans) naive.Add(span);
      for (int64_t i = 0; i < padding; ++i) {
        const auto first =
            std::ranges::find_if(spans, [](const RoutedSpan& span) { return span.rows > 0; });
        if (first != spans.end()) naive.AddRow(*first, first->first_row);
      }
      const std::vector<ExpertLoad> expected = naive.Loads(load);
      for (ReplaySource& source : sources) {
        std::vector<ExpertLoad> loads(expected.size());
        source.Count(spans, padding, loads);
        ASSERT_EQ(loads, expected) << "experts " << shape.experts << " layers " << shape.moe_layers
                                   << " ranks " << load.expert_ranks << " spans " << spans.size();
      }
    }
  }
}

}  // namespace
}  // namespace moecast
