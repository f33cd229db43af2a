#include "sim/policy/expert_policy.h"

#include <gtest/gtest.h>

namespace moecast {
namespace {

ExpertPolicy Of(ExpertRule rule) { return ExpertPolicy(std::vector<ExpertRule>{std::move(rule)}); }

TEST(LoadSwitch, TakesTheFirstRuleWhoseBoundIsAboveTheMeasure) {
  const LoadSwitch by_batch{.measure = LoadMeasure::kBatch, .below = {16, 64}};
  EXPECT_EQ(by_batch.Choose({.decode_sequences = 15}), 0U);
  EXPECT_EQ(by_batch.Choose({.decode_sequences = 16}), 1U);
  EXPECT_EQ(by_batch.Choose({.decode_sequences = 16, .prefill_tokens = 48}), 2U);
}

TEST(LoadSwitch, MeasuresTheQueueAndTheSlackOfTheLastStep) {
  const LoadSwitch by_queue{.measure = LoadMeasure::kQueue, .below = {1}};
  EXPECT_EQ(by_queue.Choose({.waiting_requests = 0}), 0U);
  EXPECT_EQ(by_queue.Choose({.waiting_requests = 1}), 1U);
  const LoadSwitch by_slack{
      .measure = LoadMeasure::kSloSlack, .below = {0}, .tpot_bound = Seconds(0.01)};
  EXPECT_EQ(by_slack.Choose({.last_gap = Seconds(0.02)}), 0U);  // too slow
  EXPECT_EQ(by_slack.Choose({.last_gap = Seconds(0.005)}), 1U);
  EXPECT_EQ(by_slack.Choose({}), 1U);  // nothing known yet: all the slack there is
}

TEST(ExpertPolicy, OneTokenLevelRuleIsAppliedAtLoadAndOthersInTheStep) {
  EXPECT_TRUE(ExpertPolicy().IsNative());
  EXPECT_FALSE(IsStepLevel(ExpertPolicy(UniformTopK{4})));
  EXPECT_TRUE(IsStepLevel(Of(EacPrefill{.threshold = 0.3})));
  EXPECT_TRUE(IsStepLevel(Of(BatchRule{.kind = XShare{.budget = 8}})));
  ExpertPolicy two(
      std::vector<ExpertRule>{ExpertSelection{NativeTopK{}}, ExpertSelection{UniformTopK{4}}});
  EXPECT_TRUE(IsStepLevel(two));
  EXPECT_EQ(two.token_rule(), nullptr);
}

TEST(ExpertPolicy, RenormalisationOverOtherRanksIsAnotherPolicy) {
  ExpertPolicy policy = UniformTopK{4};
  policy.mass_ranks = 8;
  EXPECT_NE(policy, ExpertPolicy(UniformTopK{4}));
  ExpertPolicy native;
  native.mass_ranks = 16;
  EXPECT_FALSE(native.IsNative());
}

TEST(ExpertPolicy, SaysWhichRanksAndScoresItsRulesNeed) {
  EXPECT_EQ(RanksWanted(BatchRule{.kind = Oea{.base_k = 2}}, 8), 9);
  EXPECT_EQ(RanksWanted(BatchRule{.kind = Oea{.base_k = 2, .max_rank = 8}}, 8), 8);
  EXPECT_EQ(RanksWanted(BatchRule{.kind = XShare{.budget = 8}}, 8), 9);
  EXPECT_EQ(RanksWanted(ExpertSelection{NativeTopK{}}, 8), 8);
  EXPECT_FALSE(NeedsScores(Of(BatchRule{.kind = Oea{.base_k = 2}})));
  EXPECT_TRUE(NeedsScores(Of(BatchRule{.kind = AllocTokens{.mean_k = {{2}}}})));
  EXPECT_EQ(SelectionName(KindOf(BatchRule{.kind = Lynx{}})), "lynx");
}

}  // namespace
}  // namespace moecast
