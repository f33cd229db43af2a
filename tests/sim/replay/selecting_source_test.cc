#include "sim/replay/selecting_source.h"

#include <gtest/gtest.h>

#include <numeric>

#include "sim/replay/replay_source.h"
#include "tests/sim/replay/random_trace.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

using test::TraceSequence;
using test::TraceShape;

constexpr int64_t kFurther = 3;

/// The random trace with scores and further ranks.
struct RankedTrace {
  TraceShape shape;
  RoutingHeader header = {};
  std::vector<TraceSequence> sequences = {};
};

void AddRanks(const TraceShape& shape, RoutingChunk& chunk) {
  const auto top_k = static_cast<size_t>(shape.top_k);
  for (size_t cell = 0; cell < chunk.ids.size() / top_k; ++cell) {
    const std::span<const uint16_t> own(chunk.ids.data() + cell * top_k, top_k);
    uint16_t next = 0;
    for (size_t rank = 0; rank < top_k + kFurther; ++rank) {
      const float score = 1.0F / static_cast<float>(rank + 2);
      if (rank < top_k) {
        chunk.scores.push_back(score);
        continue;
      }
      while (std::ranges::find(own, next) != own.end()) ++next;
      chunk.further_ids.push_back(own[0] == kUnknownExpert ? kUnknownExpert : next++);
      chunk.further_scores.push_back(score);
    }
  }
}

RankedTrace DrawTrace(RngStream& rng) {
  RankedTrace trace{.shape = {.moe_layers = 3, .experts = 16, .top_k = 4, .unknown_ratio = 0.05}};
  trace.header = test::HeaderOf(trace.shape);
  trace.header.further_ranks = kFurther;
  trace.header.has_scores = true;
  trace.sequences = test::RandomTrace(trace.shape, rng);
  for (auto& [prefill, decode] : trace.sequences) {
    AddRanks(trace.shape, prefill);
    AddRanks(trace.shape, decode);
  }
  return trace;
}

RuleRows RowsOf(const RankedTrace& trace, const ExpertRule& rule) {
  const auto* token = std::get_if<ExpertSelection>(&rule);
  ReplayTable::Builder bits(trace.header, token != nullptr ? *token : NativeTopK{});
  std::unique_ptr<RankedTable::Builder> ranked;
  if (const auto* batch = std::get_if<BatchRule>(&rule)) {
    ranked = std::make_unique<RankedTable::Builder>(trace.header, *batch, int64_t{1} << 30);
  }
  for (const auto& [prefill, decode] : trace.sequences) {
    for (const RoutingChunk* chunk : {&prefill, &decode}) {
      EXPECT_TRUE(bits.Add(*chunk).ok());
      if (ranked != nullptr) {
        EXPECT_TRUE(ranked->Add(*chunk).ok());
      }
    }
  }
  RuleRows rows{.rule = rule,
                .table = std::make_shared<const ReplayTable>(std::move(bits).Finish().value()),
                .ranked = nullptr};
  if (ranked != nullptr) {
    rows.ranked = std::make_shared<const RankedTable>(std::move(*ranked).Finish());
  }
  return rows;
}

SelectingSource SourceOf(const RankedTrace& trace, const std::vector<ExpertRule>& rules,
                         LoadSwitch choose = {}) {
  RoutingRules all{.rules = {}, .choose = std::move(choose)};
  for (const ExpertRule& rule : rules) all.rules.push_back(RowsOf(trace, rule));
  return {std::move(all), {.expert_ranks = 2, .tile_rows = 4}, {}};
}

struct Step {
  std::vector<RoutedSpan> spans;
  StepLoad load;
};

Step DrawStep(const RankedTrace& trace, bool with_prompt, RngStream& rng) {
  Step step;
  for (int i = 0; i < 6; ++i) {
    const auto sequence = SequenceId(static_cast<uint32_t>(rng.NextBelow(trace.sequences.size())));
    const bool prompt = with_prompt && i == 0;
    const auto first = static_cast<int64_t>(rng.NextBelow(30));
    const int64_t rows = prompt ? 1 + static_cast<int64_t>(rng.NextBelow(25)) : 1;
    step.spans.push_back(
        {sequence, prompt ? RoutingPhase::kPrefill : RoutingPhase::kDecode, first, rows});
    (prompt ? step.load.prefill_tokens : step.load.decode_sequences) += rows;
  }
  return step;
}

std::vector<ExpertLoad> LoadsOf(auto& source, const Step& step) {
  std::vector<ExpertLoad> loads(6);
  source.Count(step.spans, 0, loads, step.load);
  return loads;
}

double Assignments(const std::vector<ExpertLoad>& loads) {
  return std::accumulate(loads.begin(), loads.end(), 0.0,
                         [](double sum, const ExpertLoad& load) { return sum + load.assignments; });
}

TEST(SelectingSource, WithARuleThatChangesNothingEqualsReplay) {
  test::ForAll("replay/selecting native", {.cases = 60}, [](RngStream& rng) {
    const RankedTrace trace = DrawTrace(rng);
    ReplaySource replay(RowsOf(trace, ExpertSelection{NativeTopK{}}).table,
                        {.expert_ranks = 2, .tile_rows = 4}, {});
    SelectingSource all_of_it = SourceOf(
        trace, {BatchRule{.kind = Oea{.base_k = 4, .max_rank = 4}, .scope = BatchScope::kAllRows}});
    SelectingSource kept = SourceOf(trace, {EacPrefill{.threshold = 0}});
    for (const bool prompt : {false, true}) {
      const Step step = DrawStep(trace, prompt, rng);
      const auto expected = LoadsOf(replay, step);
      EXPECT_EQ(LoadsOf(all_of_it, step), expected);
      EXPECT_EQ(LoadsOf(kept, step), expected);
    }
    EXPECT_EQ(all_of_it.notes().wrapped_rows, replay.notes().wrapped_rows);
    EXPECT_EQ(all_of_it.notes().unknown_rows, replay.notes().unknown_rows);
  });
}

TEST(SelectingSource, LeavesStepsAloneThatItsRuleDoesNotActOn) {
  RngStream rng({.seed = 2}, "selecting scope");
  const RankedTrace trace = DrawTrace(rng);
  ReplaySource replay(RowsOf(trace, ExpertSelection{NativeTopK{}}).table,
                      {.expert_ranks = 2, .tile_rows = 4}, {});
  SelectingSource capped = SourceOf(trace, {BatchRule{.kind = XShare{.budget = 4}}});
  const Step decode = DrawStep(trace, false, rng);
  const Step mixed = DrawStep(trace, true, rng);
  EXPECT_EQ(LoadsOf(capped, mixed), LoadsOf(replay, mixed));
  EXPECT_EQ(capped.selection(), SelectionKind::kNative);
  EXPECT_LT(Assignments(LoadsOf(capped, decode)), Assignments(LoadsOf(replay, decode)));
  EXPECT_EQ(capped.selection(), SelectionKind::kXShare);
}

TEST(SelectingSource, ActsOnDecodingRowsBesideAPromptWhenAskedTo) {
  RngStream rng({.seed = 3}, "selecting rows");
  const RankedTrace trace = DrawTrace(rng);
  SelectingSource rule =
      SourceOf(trace, {BatchRule{.kind = XShare{.budget = 4}, .scope = BatchScope::kDecodeRows}});
  Step mixed = DrawStep(trace, true, rng);
  Step prompt = mixed;
  Step decode = mixed;
  prompt.spans.resize(1);
  decode.spans.erase(decode.spans.begin());
  decode.load.prefill_tokens = 0;
  EXPECT_EQ(Assignments(LoadsOf(rule, mixed)),
            Assignments(LoadsOf(rule, prompt)) + Assignments(LoadsOf(rule, decode)));
}

TEST(SelectingSource, TotalsAreTheAssignmentsOfAllSteps) {
  RngStream rng({.seed = 4}, "selecting totals");
  const RankedTrace trace = DrawTrace(rng);
  SelectingSource source = SourceOf(trace, {BatchRule{.kind = Oea{.base_k = 1}}});
  double assignments = 0;
  for (int i = 0; i < 20; ++i)
    assignments += Assignments(LoadsOf(source, DrawStep(trace, i % 3 == 0, rng)));
  const auto totals = source.totals();
  EXPECT_EQ(static_cast<double>(std::accumulate(totals.begin(), totals.end(), uint64_t{0})),
            assignments);
  EXPECT_EQ(static_cast<double>(source.notes().selected_experts), assignments);
}

TEST(SelectingSource, ProxiesSayThatARuleWithoutEffectChangesNothingAndAnotherSome) {
  RngStream rng({.seed = 7}, "selecting proxies");
  const RankedTrace trace = DrawTrace(rng);
  SelectingSource same = SourceOf(trace, {BatchRule{.kind = Oea{.base_k = 4, .max_rank = 4}}});
  SelectingSource few = SourceOf(trace, {BatchRule{.kind = XShare{.budget = 3}}});
  for (int i = 0; i < 200; ++i) {
    const Step step = DrawStep(trace, false, rng);
    LoadsOf(same, step);
    LoadsOf(few, step);
  }
  const SelectionProxies unchanged = same.notes().proxies;
  EXPECT_GT(unchanged.cells, 0);
  EXPECT_EQ(unchanged.changed_cells, 0);
  EXPECT_EQ(unchanged.kept_mass, unchanged.native_mass);
  const SelectionProxies changed = few.notes().proxies;
  EXPECT_EQ(changed.cells, unchanged.cells);
  EXPECT_EQ(changed.native_mass, unchanged.native_mass);
  EXPECT_GT(changed.changed_cells, 0);
  EXPECT_GE(changed.missing_experts, changed.changed_cells);
  EXPECT_LT(changed.kept_mass, changed.native_mass);
}

TEST(SelectingSource, TakesTheRuleThatTheLoadChooses) {
  RngStream rng({.seed = 5}, "selecting load");
  const RankedTrace trace = DrawTrace(rng);
  const std::vector<ExpertRule> rules = {ExpertSelection{UniformTopK{2}},
                                         BatchRule{.kind = XShare{.budget = 4}}};
  SelectingSource chosen = SourceOf(trace, rules, {.measure = LoadMeasure::kBatch, .below = {4}});
  SelectingSource few = SourceOf(trace, {rules[0]});
  SelectingSource many = SourceOf(trace, {rules[1]});
  Step step = DrawStep(trace, false, rng);
  EXPECT_EQ(LoadsOf(chosen, step), LoadsOf(many, step));
  step.spans.resize(3);
  step.load.decode_sequences = 3;
  EXPECT_EQ(LoadsOf(chosen, step), LoadsOf(few, step));
  EXPECT_EQ(chosen.notes().steps_by_rule, (std::vector<uint64_t>{1, 1}));
}

TEST(SelectingSource, PaddingGoesThroughTheRuleAsCopiesOfTheFirstRow) {
  RngStream rng({.seed = 6}, "selecting padding");
  const RankedTrace trace = DrawTrace(rng);
  SelectingSource source = SourceOf(trace, {BatchRule{.kind = Oea{.base_k = 1, .max_rank = 4}}});
  const Step step = DrawStep(trace, false, rng);
  Step copied = step;
  copied.spans.insert(copied.spans.end(), 2, step.spans.front());
  std::vector<ExpertLoad> padded(6);
  source.Count(step.spans, 2, padded, step.load);
  EXPECT_EQ(padded, LoadsOf(source, copied));
}

TEST(SelectingSource, EacLeavesDecodeAloneAndNeverAddsToAPrompt) {
  test::ForAll("replay/eac", {.cases = 40}, [](RngStream& rng) {
    const RankedTrace trace = DrawTrace(rng);
    SelectingSource native = SourceOf(trace, {EacPrefill{.threshold = 0}});
    SelectingSource cut = SourceOf(trace, {EacPrefill{.threshold = 0.8}});
    const Step decode = DrawStep(trace, false, rng);
    EXPECT_EQ(LoadsOf(cut, decode), LoadsOf(native, decode));
    const Step mixed = DrawStep(trace, true, rng);
    EXPECT_LE(Assignments(LoadsOf(cut, mixed)), Assignments(LoadsOf(native, mixed)));
  });
}

}  // namespace
}  // namespace moecast
