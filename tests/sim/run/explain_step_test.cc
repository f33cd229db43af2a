#include "sim/run/explain_step.h"

#include <gtest/gtest.h>

#include "tests/sim/run/tiny_study.h"

namespace moecast {
namespace {

using test::TinyScenario;

TEST(ExplainStep, LinesAddUpToTheStepItPredicts) {
  const StepAnswer answer =
      ExplainStep(TinyScenario(), {.decode_sequences = 4, .context = 32}).value();
  double seconds = 0;
  for (const OpLine& line : answer.lines) seconds += line.all.count();
  const double rounded_up = ToSeconds(answer.time.total) - seconds;
  constexpr double kRounding = 1e-15;
  EXPECT_GE(rounded_up, -kRounding);
  EXPECT_LE(rounded_up, 1e-9 + kRounding);
}

TEST(ExplainStep, PadsADecodeStepToTheNextCapturedGraph) {
  Scenario scenario = TinyScenario();
  scenario.engine.graph_batch_sizes = {2, 8};
  const StepAnswer answer = ExplainStep(scenario, {.decode_sequences = 3, .context = 5}).value();
  EXPECT_TRUE(answer.graph);
  EXPECT_EQ(answer.tokens, 3);
  EXPECT_EQ(answer.rows_per_group, 8);
}

// The context counts the token that is decoded: 1 is attention to itself alone.
TEST(ExplainStep, PricesTheLeastContext) {
  Scenario scenario = TinyScenario();
  for (const bool plain : {true, false}) {
    if (!plain) {
      scenario.kv = KvSlidingEviction{.scheme = test::PlainKv(16, "bf16"), .sink = 4, .window = 12};
    }
    const StepAnswer least = ExplainStep(scenario, {.decode_sequences = 2, .context = 1}).value();
    const StepAnswer longer = ExplainStep(scenario, {.decode_sequences = 2, .context = 32}).value();
    EXPECT_EQ(least.tokens, 2);
    EXPECT_LT(least.time.total, longer.time.total);
  }
}

TEST(ExplainStep, CutsAPromptAtTheTokenBudget) {
  const Scenario scenario = TinyScenario();
  const StepAnswer answer = ExplainStep(scenario, {.prefill_tokens = 100}).value();
  EXPECT_EQ(answer.prefill_tokens, scenario.engine.max_batch_tokens);
}

TEST(ExplainStep, RefusesStepsBeyondTheBudgets) {
  const Scenario scenario = TinyScenario();
  EXPECT_FALSE(ExplainStep(scenario, {}).ok());
  EXPECT_FALSE(ExplainStep(scenario, {.decode_sequences = 9, .context = 5}).ok());
  EXPECT_FALSE(ExplainStep(scenario, {.decode_sequences = 1, .context = 0}).ok());
  EXPECT_FALSE(ExplainStep(scenario, {.prefill_tokens = int64_t{1} << 40}).ok());
}

}  // namespace
}  // namespace moecast
