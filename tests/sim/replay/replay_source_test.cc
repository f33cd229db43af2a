// ReplaySource against counting by plain loops, on random shapes and steps.
#include "sim/replay/replay_source.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/sim/replay/random_trace.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

using test::ForAll;
using test::NaiveCounter;
using test::RandomTrace;
using test::SupportedKernels;
using test::TableOf;
using test::TraceSequence;
using test::TraceShape;

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

void ExpectEveryKernelCountsAsNaively(const TraceShape& shape, RngStream& rng) {
  const std::vector<TraceSequence> trace = RandomTrace(shape, rng);
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
    const auto first =
        std::ranges::find_if(spans, [](const RoutedSpan& span) { return span.rows > 0; });
    for (int64_t i = 0; first != spans.end() && i < padding; ++i) {
      naive.AddRow(*first, first->first_row);
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

TEST(ReplaySource, EveryInstructionSetEqualsPlainLoopsOnRandomSteps) {
  ForAll("replay/steps", {.cases = 120},
         [](RngStream& rng) { ExpectEveryKernelCountsAsNaively(RandomShape(rng), rng); });
}

TEST(ReplaySource, AStepOfMoreRowsThanTheCountersHoldIsStillExact) {
  RngStream rng({.seed = 3, .replication = 0}, "test/replay");
  const TraceShape shape{.moe_layers = 2, .experts = 16, .top_k = 4, .sequences = 2, .max_rows = 9};
  const auto trace = RandomTrace(shape, rng);
  std::vector<RoutedSpan> spans(10'000, {SequenceId(1), RoutingPhase::kDecode, 0, 1});
  for (size_t i = 0; i < spans.size(); ++i) spans[i].first_row = static_cast<int64_t>(i);
  NaiveCounter naive(shape, trace, shape.top_k);
  for (const RoutedSpan& span : spans) naive.Add(span);
  const LoadShape load{.expert_ranks = 1, .tile_rows = 64};
  for (const CounterKernels* kernels : SupportedKernels()) {
    ReplaySource source(TableOf(shape, trace), load, Seed{}, *kernels);
    std::vector<ExpertLoad> loads(2);
    source.Count(spans, 0, loads);
    EXPECT_EQ(loads, naive.Loads(load)) << kernels->name;
  }
}

TEST(ReplaySource, SpansBeyondTheRangeOfRunningCountsAreExact) {
  RngStream rng({.seed = 4, .replication = 0}, "test/replay");
  const TraceShape shape{.moe_layers = 1, .experts = 2, .top_k = 2, .sequences = 1};
  TraceSequence sequence{test::RandomChunk(shape, 100'000, rng), {}};
  sequence.second.phase = RoutingPhase::kDecode;
  const std::vector<TraceSequence> trace = {sequence};
  NaiveCounter naive(shape, trace, shape.top_k);
  const RoutedSpan span{SequenceId(0), RoutingPhase::kPrefill, 70, 99'000};
  naive.Add(span);
  const LoadShape load{.expert_ranks = 2, .tile_rows = 16};
  ReplaySource source(TableOf(shape, trace), load, Seed{});
  std::vector<ExpertLoad> loads(2);
  source.Count(std::span(&span, 1), 0, loads);
  EXPECT_EQ(loads, naive.Loads(load));
}

TEST(ReplaySource, AssignmentsInEqualAssignmentsCounted_INV7) {
  ForAll("replay/conserved", {.cases = 40}, [](RngStream& rng) {
    TraceShape shape = RandomShape(rng);
    shape.unknown_ratio = 0;
    const auto trace = RandomTrace(shape, rng);
    const int64_t kept = 1 + Below(rng, shape.top_k);
    const LoadShape load = RandomLoadShape(shape.experts, rng);
    ReplaySource source(TableOf(shape, trace, UniformTopK{kept}), load, Seed{});
    const std::vector<RoutedSpan> spans = RandomStep(shape, rng);
    std::vector<ExpertLoad> loads(static_cast<size_t>(shape.moe_layers * load.expert_ranks));
    source.Count(spans, 0, loads);
    double counted = 0;
    for (const ExpertLoad& rank : loads) counted += rank.assignments;
    int64_t rows = 0;
    for (const RoutedSpan& span : spans) rows += span.rows;
    EXPECT_EQ(counted, static_cast<double>(rows * shape.moe_layers * kept));
  });
}

TEST(ReplaySource, StricterSelectionNeverRaisesAnyLoad_INV7) {
  ForAll("replay/stricter", {.cases = 30}, [](RngStream& rng) {
    const TraceShape shape = RandomShape(rng);
    const auto trace = RandomTrace(shape, rng);
    const LoadShape load = RandomLoadShape(shape.experts, rng);
    const std::vector<RoutedSpan> spans = RandomStep(shape, rng);
    std::vector<ExpertLoad> stricter(static_cast<size_t>(shape.moe_layers * load.expert_ranks));
    for (int64_t k = 1; k <= shape.top_k; ++k) {
      ReplaySource source(TableOf(shape, trace, UniformTopK{k}), load, Seed{});
      std::vector<ExpertLoad> loads(stricter.size());
      source.Count(spans, 0, loads);
      for (size_t i = 0; i < loads.size(); ++i) {
        EXPECT_LE(stricter[i].assignments, loads[i].assignments);
        EXPECT_LE(stricter[i].distinct, loads[i].distinct);
        EXPECT_LE(stricter[i].padded_rows, loads[i].padded_rows);
        EXPECT_LE(stricter[i].max_expert, loads[i].max_expert);
      }
      stricter = loads;
    }
  });
}

TEST(ReplaySource, NotesCountWrappedSubstitutedUnknownAndPaddingRows) {
  ForAll("replay/notes", {.cases = 60}, [](RngStream& rng) {
    const TraceShape shape = RandomShape(rng);
    const auto trace = RandomTrace(shape, rng);
    ReplaySource source(TableOf(shape, trace), {}, Seed{});
    const std::vector<RoutedSpan> spans = RandomStep(shape, rng);
    NaiveCounter naive(shape, trace, shape.top_k);
    RoutingNotes expected;
    for (const RoutedSpan& span : spans) {
      naive.Add(span);
      const bool prefill = span.phase == RoutingPhase::kPrefill;
      (prefill ? expected.prefill_rows : expected.decode_rows) += static_cast<uint64_t>(span.rows);
    }
    expected.wrapped_rows = naive.wrapped_rows();
    expected.substituted_rows = naive.substituted_rows();
    expected.unknown_rows = naive.unknown_rows();
    expected.padding_rows = expected.prefill_rows + expected.decode_rows > 0 ? 5 : 0;
    std::vector<ExpertLoad> loads(static_cast<size_t>(shape.moe_layers));
    source.Count(spans, 5, loads);
    EXPECT_EQ(source.notes(), expected);
  });
}

TEST(ReplaySource, TotalsAddUpEverySpan) {
  ForAll("replay/totals", {.cases = 40}, [](RngStream& rng) {
    const TraceShape shape = RandomShape(rng);
    const auto trace = RandomTrace(shape, rng);
    ReplaySource source(TableOf(shape, trace), {}, Seed{});
    NaiveCounter naive(shape, trace, shape.top_k);
    for (const RoutedSpan& span : RandomStep(shape, rng)) {
      source.AddToTotals(span);
      naive.Add(span);
    }
    const std::span<const uint64_t> totals = source.totals();
    EXPECT_EQ(std::vector<uint64_t>(totals.begin(), totals.end()), naive.counts());
  });
}

TEST(ReplaySource, RequestsBindTheSameSequencesUnderEverySelection_INV8) {
  RngStream rng({.seed = 5, .replication = 0}, "test/replay");
  const TraceShape shape{.moe_layers = 1, .experts = 8, .top_k = 4, .sequences = 10};
  const auto trace = RandomTrace(shape, rng);
  const Seed seed{.seed = 11, .replication = 2};
  const ReplaySource native(TableOf(shape, trace), {}, seed);
  const ReplaySource skipping(TableOf(shape, trace, UniformTopK{1}), {.expert_ranks = 2}, seed);
  std::vector<int64_t> bound(10);
  for (uint64_t request = 0; request < 10'000; ++request) {
    const SequenceId sequence = native.Bind(RequestId(request));
    EXPECT_EQ(sequence, skipping.Bind(RequestId(request)));
    ++bound.at(sequence.value());
  }
  for (const int64_t count : bound) EXPECT_NEAR(static_cast<double>(count), 1000, 150);  // 5 sigma
}

}  // namespace
}  // namespace moecast
