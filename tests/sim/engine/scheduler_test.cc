#include "sim/engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "sim/base/rng.h"

namespace moecast {
namespace {

Time At(int64_t ns) { return Time(Duration(ns)); }

Sequence MakeSequence(uint64_t id, int64_t input, int64_t output) {
  Sequence sequence;
  sequence.record.id = RequestId(id);
  sequence.record.input_tokens = input;
  sequence.record.output_tokens = output;
  sequence.routing = SequenceId(static_cast<uint32_t>(id));
  return sequence;
}

Scheduler::Config SmallConfig() {
  return {.max_batch_tokens = 10, .max_sequences = 4, .kv = {.tokens = 400, .block_tokens = 4}};
}

/// Forms and ends one step.
struct Stepper {
  explicit Stepper(const Scheduler::Config& config) : scheduler(config) {}
  GroupStep Step() {
    outcome.Clear();
    const GroupStep step = scheduler.FormBatch(now, outcome.executed);
    spans.clear();
    scheduler.AppendSpans(spans);
    now += Duration(100);
    scheduler.FinishStep(now, outcome);
    return step;
  }
  Scheduler scheduler;
  Time now;
  StepOutcome outcome;
  std::vector<RoutedSpan> spans;
};

TEST(Scheduler, PromptIsChunkedByTheTokenBudget) {
  Stepper s(SmallConfig());
  s.scheduler.Enqueue(MakeSequence(0, 25, 2));
  EXPECT_EQ(s.Step().load.prefill_tokens, 10);
  EXPECT_EQ(s.Step().load.prefill_tokens, 10);
  const GroupStep last = s.Step();
  EXPECT_EQ(last.load.prefill_tokens, 5);
  EXPECT_EQ(last.emitting, 1);
  EXPECT_EQ(s.Step().load.decode_sequences, 1);
  ASSERT_EQ(s.outcome.records.size(), 1u);
  EXPECT_EQ(s.outcome.records[0].first_token, At(300));
  EXPECT_EQ(s.outcome.records[0].finish, At(400));
}

TEST(Scheduler, DecodesComeBeforeChunksAndChunksBeforeAdmissions) {
  Stepper s(SmallConfig());
  s.scheduler.Enqueue(MakeSequence(0, 2, 9));
  s.scheduler.Enqueue(MakeSequence(1, 12, 9));
  s.scheduler.Enqueue(MakeSequence(2, 6, 9));
  const GroupStep first = s.Step();  // 2 + 8 of 12
  EXPECT_EQ(first.load.prefill_chunks, 2);
  EXPECT_EQ(first.emitting, 1);
  const GroupStep second = s.Step();  // a decode, the 4 left, 5 of 6
  EXPECT_EQ(second.load.decode_sequences, 1);
  EXPECT_EQ(second.load.prefill_tokens, 9);
  EXPECT_EQ(second.emitting, 2);
  const GroupStep third = s.Step();  // two decodes and the last prompt token
  EXPECT_EQ(third.load.decode_sequences, 2);
  EXPECT_EQ(third.load.prefill_tokens, 1);
}

TEST(Scheduler, SequenceBudgetHoldsBackAdmission) {
  Stepper s(SmallConfig());
  for (uint64_t i = 0; i < 6; ++i) s.scheduler.Enqueue(MakeSequence(i, 1, 3));
  s.Step();
  EXPECT_EQ(s.scheduler.running(), 4);
  EXPECT_EQ(s.scheduler.waiting(), 2);
}

TEST(Scheduler, AttentionLoadSumsChunksAndDecodes) {
  Scheduler::Config config = SmallConfig();
  config.sliding_window = 6;
  Stepper s(config);
  s.scheduler.Enqueue(MakeSequence(0, 14, 5));
  s.Step();
  const AttentionLoad chunk = s.Step().load;  // positions 11..14, 10 cached before
  EXPECT_DOUBLE_EQ(chunk.prefill_pairs, 11 + 12 + 13 + 14);
  EXPECT_DOUBLE_EQ(chunk.prefill_pairs_window, 4 * 6);
  EXPECT_EQ(chunk.prefill_context, 14);
  EXPECT_EQ(chunk.prefill_context_window, 5 + 4);
  const AttentionLoad decode = s.Step().load;
  EXPECT_EQ(decode.decode_context, 15);
  EXPECT_EQ(decode.decode_context_window, 6);
  EXPECT_EQ(decode.prefill_tokens, 0);
}

TEST(Scheduler, WindowCutsOnlyTheQueriesThatReachPastIt) {
  Scheduler::Config config = SmallConfig();
  config.sliding_window = 3;
  Stepper s(config);
  s.scheduler.Enqueue(MakeSequence(0, 5, 2));
  const AttentionLoad load = s.Step().load;
  EXPECT_DOUBLE_EQ(load.prefill_pairs_window, 1 + 2 + 3 + 3 + 3);
  EXPECT_EQ(load.prefill_context_window, 5);
}

TEST(Scheduler, MostRecentlyAdmittedIsPreemptedWhenADecodeNeedsABlock) {
  // 4 blocks of 4 tokens. Two prompts of 8 fill them; both need a block for the first decode.
  Scheduler::Config config = SmallConfig();
  config.max_batch_tokens = 16;
  config.kv.tokens = 16;
  Stepper s(config);
  s.scheduler.Enqueue(MakeSequence(0, 8, 6));
  s.scheduler.Enqueue(MakeSequence(1, 8, 6));
  s.Step();
  const GroupStep step = s.Step();
  EXPECT_EQ(step.preemptions, 1);
  EXPECT_EQ(step.load.decode_sequences, 1);
  EXPECT_EQ(step.load.prefill_tokens, 0) << "nothing is admitted in a step that preempted";
  EXPECT_EQ(s.scheduler.waiting(), 1);
  EXPECT_EQ(s.scheduler.kv().used(), 3);
}

TEST(Scheduler, PreemptedSequenceComputesPromptAndGeneratedTokensAgain) {
  Scheduler::Config config = SmallConfig();
  config.max_batch_tokens = 16;
  config.kv.tokens = 20;
  Stepper s(config);
  s.scheduler.Enqueue(MakeSequence(0, 8, 3));
  s.scheduler.Enqueue(MakeSequence(1, 7, 9));
  s.Step();                          // both prompts: 2 + 2 blocks
  s.Step();                          // first needs a third block; second fills its last
  const GroupStep third = s.Step();  // second needs a block: none is free
  EXPECT_EQ(third.preemptions, 1);
  ASSERT_EQ(s.outcome.records.size(), 1u);
  const GroupStep again = s.Step();
  EXPECT_EQ(again.load.prefill_tokens, 9) << "7 of the prompt, 2 generated";
  ASSERT_EQ(s.spans.size(), 2u);
  EXPECT_EQ(s.spans[0].phase, RoutingPhase::kPrefill);
  EXPECT_EQ(s.spans[0].rows, 7);
  EXPECT_EQ(s.spans[1].phase, RoutingPhase::kDecode);
  EXPECT_EQ(s.spans[1].first_row, 0);
  EXPECT_EQ(s.spans[1].rows, 2);
  ASSERT_EQ(s.outcome.late_gaps.size(), 1u);
  EXPECT_EQ(s.outcome.late_gaps[0], Duration(200));
  s.Step();
  EXPECT_EQ(s.spans[0].first_row, 2) << "decoding goes on where it stopped";
}

TEST(Scheduler, RequestThatWouldOutgrowAnEmptyCacheCannotFit) {
  Scheduler::Config config = SmallConfig();
  config.kv.tokens = 16;
  const Scheduler scheduler(config);
  EXPECT_TRUE(scheduler.CanEverFit(MakeSequence(0, 10, 7)));
  EXPECT_FALSE(scheduler.CanEverFit(MakeSequence(0, 10, 8)));
}

/// What every step must satisfy, and what the whole run must add up to.
class RandomRun {
 public:
  explicit RandomRun(uint64_t seed)
      : rng_(Seed{.seed = seed}, "test/scheduler"),
        config_{.max_batch_tokens = 1 + static_cast<int64_t>(rng_.NextBelow(40)),
                .max_sequences = 1 + static_cast<int64_t>(rng_.NextBelow(12)),
                .kv = {.tokens = 60 + static_cast<int64_t>(rng_.NextBelow(200)),
                       .block_tokens = 1 + static_cast<int64_t>(rng_.NextBelow(8))},
                .sliding_window = static_cast<int64_t>(rng_.NextBelow(20))},
        stepper_(config_) {}

  void Run() {
    for (uint64_t id = 0; id < 60 || stepper_.scheduler.has_work();) {
      if (id < 60 && rng_.NextBelow(3) == 0) {
        Enqueue(id++);
      } else if (stepper_.scheduler.has_work()) {
        Step();
      }
      ASSERT_EQ(stepper_.scheduler.CountHeldBlocks(), stepper_.scheduler.kv().used());
      ASSERT_FALSE(::testing::Test::HasFailure());
    }
    EXPECT_EQ(stepper_.scheduler.kv().used(), 0);
    EXPECT_EQ(finished_, enqueued_);
  }
  [[nodiscard]] int64_t preemptions() const { return preemptions_; }

 private:
  void Enqueue(uint64_t id) {
    const Sequence sequence = MakeSequence(id, 1 + static_cast<int64_t>(rng_.NextBelow(40)),
                                           1 + static_cast<int64_t>(rng_.NextBelow(20)));
    if (!stepper_.scheduler.CanEverFit(sequence)) return;
    stepper_.scheduler.Enqueue(sequence);
    ++enqueued_;
  }

  void Step() {
    const GroupStep step = stepper_.Step();
    preemptions_ += step.preemptions;
    EXPECT_GT(step.load.tokens(), 0);                         // INV-4
    EXPECT_LE(step.load.tokens(), config_.max_batch_tokens);  // INV-3
    EXPECT_LE(step.load.decode_sequences + step.load.prefill_chunks, config_.max_sequences);
    int64_t rows = 0;
    for (const RoutedSpan& span : stepper_.spans) rows += span.rows;
    EXPECT_EQ(rows, step.load.tokens());  // INV-7
    routed_ += rows;
    for (const RoutedSpan& span : stepper_.outcome.executed) executed_ += span.rows;
    for (const RequestRecord& record : stepper_.outcome.records) {
      EXPECT_LE(record.scheduled, record.first_token);  // INV-5
      EXPECT_LE(record.first_token, record.finish);
      ++finished_;
    }
    if (!stepper_.scheduler.has_work()) {
      EXPECT_EQ(routed_, executed_);  // INV-7
    }
  }

  RngStream rng_;
  Scheduler::Config config_;
  Stepper stepper_;
  int64_t enqueued_ = 0;
  int64_t finished_ = 0;
  int64_t preemptions_ = 0;
  int64_t routed_ = 0;
  int64_t executed_ = 0;
};

// INV-3, INV-4, INV-5, INV-7
TEST(Scheduler, RandomLoadKeepsBudgetsBlocksAndRowsConserved) {
  int64_t preemptions = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomRun run(seed);
    run.Run();
    preemptions += run.preemptions();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(preemptions, 100) << "the loads must exercise preemption";
}

}  // namespace
}  // namespace moecast
