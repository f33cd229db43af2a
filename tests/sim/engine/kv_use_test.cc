#include "sim/engine/kv_use.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/engine/scheduler.h"
#include "sim/policy/kv_policy.h"
#include "tests/support/kv_schemes.h"
#include "tests/support/property.h"

namespace moecast {
namespace {

constexpr int64_t kBlock = 16;

KvUse UseOf(const KvPolicy& policy) {
  const ModelSpec model = test::Llama8B();
  return MakeKvUse(PlanKv(policy, model), KvElementsOf(model, 1), kBlock);
}

KvPolicy Pressed(double above, KvPressure::Who who) {
  return KvUnderPressure{.normal = test::PlainKv(16, "bf16"),
                         .pressed = test::Kivi(2, 32),
                         .above = above,
                         .who = who};
}

std::vector<KvPolicy> Policies() {
  return {UniformKv{test::PlainKv(16, "bf16")},
          UniformKv{test::Kivi(2)},
          UniformKv{test::Kivi(4, 32)},
          AsymKv{.scheme = test::Kivi(2), .key_layers = 32},
          KvByAge{.bands = {{.newest = 20, .scheme = test::PlainKv(16, "bf16")},
                            {.newest = 70, .scheme = test::PlainKv(8, "fp8")}},
                  .oldest = test::PlainKv(4, "int4"),
                  .sink = 3,
                  .flush = 8},
          KvTokenBudget{.scheme = test::PlainKv(8, "fp8"), .tokens = 50, .recalibrate = 5},
          KvSlidingEviction{.scheme = test::PlainKv(8, "fp8"), .sink = 4, .window = 60},
          Pressed(0.3, KvPressure::Who::kNew),
          Pressed(0.3, KvPressure::Who::kOldest)};
}

TEST(KvUse, PlainSchemesRoundTokensUpToBlocks) {
  const KvUse use = PlainKvUse(16);
  EXPECT_EQ(use.BlocksFor(0, 0), 0);
  EXPECT_EQ(use.BlocksFor(0, 1), 1);
  EXPECT_EQ(use.BlocksFor(0, 16), 1);
  EXPECT_EQ(use.BlocksFor(0, 17), 2);
}

TEST(KvUse, BlocksHoldWhatASequenceHoldsAtAnyLength) {
  const ModelSpec model = test::Llama8B();
  const KvElements elements = KvElementsOf(model, 1);
  for (const KvPolicy& policy : Policies()) {
    const KvPlan plan = PlanKv(policy, model);
    const KvUse use = UseOf(policy);
    const double block_bytes = kBlock * ChargeOf(plan.stores.front(), elements).per_token;
    for (size_t store = 0; store < plan.stores.size(); ++store) {
      for (int64_t tokens = 1; tokens < 700; ++tokens) {
        EXPECT_GE(static_cast<double>(use.BlocksFor(store, tokens)) * block_bytes + 1e-6,
                  HeldBytes(plan.stores[store], elements, use.Kept(tokens)))
            << DescribeKv(plan) << ", " << tokens;
      }
    }
  }
}

TEST(KvUse, ANarrowStorePutsMoreTokensIntoTheSameBlock) {
  const KvUse use = UseOf(Pressed(0.5, KvPressure::Who::kNew));
  EXPECT_EQ(use.stores[0].block_tokens, 16);
  EXPECT_EQ(use.stores[1].block_tokens, 85);   // 16 * 16 / 3
  EXPECT_EQ(use.stores[1].extra_tokens, 137);  // (31 + 32) / 2 * (16 - 3) / 3, rounded up
}

/// What DecodeSet adds to a load, one member at a time.
void AddNaively(const KvUse& use, const DecodeSet& set, AttentionLoad& load) {
  for (int64_t i = 0; i < set.size(); ++i) {
    const DecodeSet::Member member = set.at(i);
    const int64_t tokens = member.cached_tokens + 1;
    const int64_t kept = use.keep_tokens > 0 ? std::min(tokens, use.keep_tokens) : tokens;
    ++load.decode_sequences;
    load.decode_context += kept;
    load.decode_longest = std::max(load.decode_longest, kept);
    if (use.plain) continue;
    const bool all =
        use.budget_tokens == 0 || (use.recalibrate > 0 && tokens % use.recalibrate == 0);
    load.decode_attended += all ? kept : std::min(kept, use.budget_tokens);
    KvSplit& split = load.kv[member.kv_store];
    ++split.decode_sequences;
    split.decode_context += kept;
    split.decode_context_window += kept;
    const auto& boundaries = use.stores[member.kv_store].boundaries;
    for (size_t b = 0; b < boundaries.size(); ++b) {
      int64_t older = 0;
      while (older + boundaries[b].flush + boundaries[b].start <= kept) {
        older += boundaries[b].flush;
      }
      split.decode_older[b] += older;
      split.decode_older_window[b] += older;
      const int64_t leaving = tokens - boundaries[b].start;
      if (leaving > 0 && leaving % boundaries[b].flush == 0) {
        split.moved[b] += boundaries[b].flush;
      }
    }
  }
}

TEST(DecodeSetKv, AgreesWithBookkeepingPerSequenceOnRandomUse) {
  for (const KvPolicy& policy : Policies()) {
    const KvUse use = UseOf(policy);
    RngStream rng(Seed{.seed = 5}, "test/kv_use");
    DecodeSet set({.kv = use});
    std::vector<DecodeSet::Member> finished;
    for (uint32_t step = 0; step < 400; ++step) {
      if (rng.NextBelow(3) == 0) {
        set.Join({.slot = step,
                  .cached_tokens = 1 + static_cast<int64_t>(rng.NextBelow(300)),
                  .tokens_left = 1 + static_cast<int64_t>(rng.NextBelow(200)),
                  .kv_store = static_cast<uint8_t>(rng.NextBelow(use.stores.size()))});
      }
      if (set.size() > 0 && rng.NextBelow(10) == 0) {
        set.MoveTo(static_cast<int64_t>(rng.NextBelow(static_cast<uint64_t>(set.size()))),
                   static_cast<uint8_t>(use.stores.size() - 1));
      }
      if (set.size() > 0 && rng.NextBelow(20) == 0) set.PopNewest();
      int64_t due = 0;
      for (int64_t i = 0; i < set.size(); ++i) {
        const DecodeSet::Member member = set.at(i);
        due += use.BlocksFor(member.kv_store, member.cached_tokens + 1) -
               use.BlocksFor(member.kv_store, member.cached_tokens);
      }
      ASSERT_EQ(set.BlocksDue(), due) << "step " << step;
      AttentionLoad load;
      AttentionLoad naive;
      set.AddLoad(load);
      AddNaively(use, set, naive);
      ASSERT_EQ(load, naive) << "step " << step;
      finished.clear();
      set.Advance(finished);
    }
  }
}

struct Tally {
  int64_t preemptions = 0;
  int64_t converted = 0;
  int64_t steps = 0;
};

/// Serves random requests to the end; blocks are recounted one by one in every step (INV-3).
Tally Serve(const KvUse& use, int64_t cache_tokens, RngStream& rng) {
  Scheduler scheduler({.max_batch_tokens = 128,
                       .max_sequences = 16,
                       .kv = {.tokens = cache_tokens, .block_tokens = kBlock},
                       .kv_use = use});
  Tally tally;
  std::vector<RoutedSpan> executed;
  StepOutcome outcome;
  for (int i = 0; i < 40; ++i) {
    Sequence sequence;
    sequence.record.input_tokens = 1 + static_cast<int64_t>(rng.NextBelow(200));
    sequence.record.output_tokens = 1 + static_cast<int64_t>(rng.NextBelow(150));
    if (scheduler.CanEverFit(sequence)) scheduler.Enqueue(sequence);
  }
  Time now{};
  while (scheduler.has_work()) {
    const GroupStep step = scheduler.FormBatch(now, executed);
    EXPECT_GT(step.load.tokens(), 0);                               // INV-4
    EXPECT_EQ(scheduler.CountHeldBlocks(), scheduler.kv().used());  // INV-3
    EXPECT_LE(scheduler.kv().used(), scheduler.kv().total());
    tally.preemptions += step.preemptions;
    tally.converted += step.load.converted_tokens;
    now += Duration(1000);
    outcome.Clear();
    scheduler.FinishStep(now, outcome);
    EXPECT_EQ(scheduler.CountHeldBlocks(), scheduler.kv().used());
    if (++tally.steps > 100000 || testing::Test::HasFailure()) break;
  }
  EXPECT_EQ(scheduler.kv().used(), 0);
  return tally;
}

TEST(SchedulerKv, EveryPolicyServesRandomRequestsWithinItsBlocks) {
  test::ForAll("kv/serve", {.cases = 20}, [](RngStream& rng) {
    for (const KvPolicy& policy : Policies()) {
      const Tally tally = Serve(UseOf(policy), 1024, rng);
      EXPECT_LT(tally.steps, 100000);
    }
  });
}

TEST(SchedulerKv, ConvertingTheOldestPreemptsLessThanConvertingNothing) {
  RngStream a(Seed{.seed = 6}, "test/pressure");
  RngStream b(Seed{.seed = 6}, "test/pressure");
  const Tally never = Serve(UseOf(UniformKv{test::PlainKv(16, "bf16")}), 1024, a);
  const Tally oldest = Serve(UseOf(Pressed(0.8, KvPressure::Who::kOldest)), 1024, b);
  EXPECT_GT(never.preemptions, 0);
  EXPECT_GT(oldest.converted, 0);
  EXPECT_LT(oldest.preemptions, never.preemptions);
}

TEST(SchedulerKv, NewSequencesUnderPressureAreNeverConverted) {
  RngStream rng(Seed{.seed = 7}, "test/pressure");
  EXPECT_EQ(Serve(UseOf(Pressed(0.2, KvPressure::Who::kNew)), 1024, rng).converted, 0);
}

TEST(SchedulerKv, EvictionLetsSequencesOutgrowTheCache) {
  const KvUse use =
      UseOf(KvSlidingEviction{.scheme = test::PlainKv(16, "bf16"), .sink = 4, .window = 60});
  const Scheduler scheduler({.max_batch_tokens = 64,
                             .max_sequences = 4,
                             .kv = {.tokens = 64, .block_tokens = kBlock},
                             .kv_use = use});
  Sequence sequence;
  sequence.record.input_tokens = 500;
  sequence.record.output_tokens = 500;
  EXPECT_TRUE(scheduler.CanEverFit(sequence));
}

}  // namespace
}  // namespace moecast
