#include "sim/engine/simulator.h"

#include <gtest/gtest.h>

#include "tests/sim/engine/engine_fixture.h"

namespace moecast::testing {
namespace {

TEST(Simulator, LoneRequestTakesOneStepPerChunkAndPerToken) {
  // 5000 prompt tokens at 2048 a step: three steps, the last emits the first token; then four more.
  SimulatorInputs inputs =
      BaseInputs({MakeRequest(0, milliseconds(10), {.input = 5000, .output = 5})});
  inputs.cost = AffineCost{.per_step = milliseconds(2), .per_token = microseconds(1)};
  const Observed run = RunAndKeepRows(std::move(inputs));
  ASSERT_EQ(run.rows.size(), 1u);
  const RequestRecord& row = run.rows[0];
  EXPECT_EQ(row.outcome, RequestOutcome::kFinished);
  EXPECT_EQ(row.scheduled, Time(milliseconds(10)));
  EXPECT_EQ(row.ttft(), 3 * milliseconds(2) + 5000 * microseconds(1));
  EXPECT_EQ(row.e2e(), row.ttft() + 4 * (milliseconds(2) + microseconds(1)));
  EXPECT_EQ(run.summary().steps, 7u);
  EXPECT_EQ(run.result.end_reason, EndReason::kDrained);
}

TEST(Simulator, SaturatedThroughputIsBatchOverStepTime) {
  // 64 decode slots kept full by a closed loop; outputs much longer than prompts' single step.
  SimulatorInputs inputs = BaseInputs(Burst(6400, {.input = 1, .output = 100}));
  std::get<RequestList>(inputs.requests).concurrency = 64;
  const Observed run = RunAndKeepRows(std::move(inputs));
  EXPECT_DOUBLE_EQ(run.summary().output_throughput, 64.0 / 1e-3);
  EXPECT_DOUBLE_EQ(run.summary().request_throughput, 64.0 / 100e-3);
  EXPECT_DOUBLE_EQ(run.summary().mean_running, 64.0);
}

TEST(Simulator, ClosedLoopReplacesAFinishedRequestAtTheSameInstant) {
  SimulatorInputs inputs = BaseInputs(Burst(3, {.input = 4, .output = 2}));
  std::get<RequestList>(inputs.requests).concurrency = 1;
  const Observed run = RunAndKeepRows(std::move(inputs));
  ASSERT_EQ(run.rows.size(), 3u);
  for (size_t i = 1; i < run.rows.size(); ++i) {
    EXPECT_EQ(run.rows[i].arrival, run.rows[i - 1].finish);
    EXPECT_EQ(run.rows[i].scheduled, run.rows[i].arrival);
  }
}

TEST(Simulator, HostTimeOfARequestIsWaitedForByNoStep) {
  const auto observe = [](bool closed, Duration latency) {
    SimulatorInputs inputs = BaseInputs(Burst(3, {.input = 4, .output = 2}));
    if (closed) std::get<RequestList>(inputs.requests).concurrency = 1;
    inputs.request_latency = latency;
    return RunAndKeepRows(std::move(inputs));
  };
  for (const bool closed : {false, true}) {
    const Observed run = observe(closed, Duration(0));
    const Observed later = observe(closed, milliseconds(7));
    ASSERT_EQ(run.rows.size(), later.rows.size());
    for (size_t i = 0; i < run.rows.size(); ++i) {
      EXPECT_EQ(later.rows[i].ttft(), run.rows[i].ttft() + milliseconds(7));
      EXPECT_EQ(later.rows[i].e2e(), run.rows[i].e2e() + milliseconds(7));
    }
  }
}

TEST(Simulator, ArrivalsOfOneInstantShareTheFirstBatch) {
  const Observed run = RunAndKeepRows(BaseInputs(Burst(10, {.input = 8, .output = 1})));
  EXPECT_EQ(run.summary().steps, 1u);
  for (const RequestRecord& row : run.rows) EXPECT_EQ(row.ttft(), milliseconds(1));
}

TEST(Simulator, RequestThatCanNeverFitIsRejectedAndTheRestIsServed) {
  SimulatorInputs inputs = BaseInputs({MakeRequest(0, Duration(0), {.input = 100, .output = 30}),
                                       MakeRequest(1, Duration(0), {.input = 100, .output = 28})});
  inputs.kv_tokens_per_group = 127;  // input + output - 1 of the second request
  inputs.engine.kv_block_tokens = 1;
  const Observed run = RunAndKeepRows(std::move(inputs));
  ASSERT_EQ(run.rows.size(), 2u);
  EXPECT_EQ(run.rows[0].outcome, RequestOutcome::kRejectedTooLong);
  EXPECT_EQ(run.rows[1].outcome, RequestOutcome::kFinished);
  EXPECT_EQ(run.summary().rejected, 1u);
}

TEST(Simulator, ClosedLoopInWhichNothingFitsEnds) {
  SimulatorInputs inputs = BaseInputs(Burst(200'000, {.input = 100, .output = 30}));
  inputs.kv_tokens_per_group = 64;
  inputs.stop = {.horizon = milliseconds(10)};
  std::get<RequestList>(inputs.requests).concurrency = 2;
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  EXPECT_EQ(result.summary.finished, 0u);
  EXPECT_EQ(result.summary.rejected, result.summary.arrived);
}

// INV-1
TEST(Simulator, HorizonLeavesWhatIsInFlightUnfinished) {
  SimulatorInputs inputs = BaseInputs(Burst(100, {.input = 10, .output = 50}));
  inputs.stop = {.horizon = milliseconds(60)};
  const Observed run = RunAndKeepRows(std::move(inputs));
  EXPECT_EQ(run.result.end_reason, EndReason::kHorizon);
  EXPECT_EQ(run.result.end, Time(milliseconds(60)));
  EXPECT_EQ(run.summary().arrived, 100u);
  EXPECT_EQ(run.summary().finished, 64u);
  EXPECT_EQ(run.summary().unfinished, 36u);
  EXPECT_EQ(run.rows.back().generated_tokens, 10);
}

TEST(Simulator, RunEndsWithTheTraceWhenItIsShorterThanTheStopRule) {
  SimulatorInputs inputs = BaseInputs(Burst(3, {.input = 10, .output = 5}));
  inputs.stop.requests = 10;
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  EXPECT_EQ(result.end_reason, EndReason::kTraceEnded);
  EXPECT_EQ(result.summary.finished, 3u);
}

TEST(Simulator, WarmupRequestsAreLeftOutOfEveryFigure) {
  SimulatorInputs inputs = BaseInputs(Burst(10, {.input = 1, .output = 10}));
  std::get<RequestList>(inputs.requests).concurrency = 1;
  inputs.recorder.warmup_requests = 4;
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  EXPECT_EQ(result.summary.finished, 10u);
  EXPECT_EQ(result.summary.measured, 6u);
  EXPECT_DOUBLE_EQ(result.summary.window.count(), 60e-3);
  EXPECT_EQ(result.summary.itl.count, 54u);
}

}  // namespace
}  // namespace moecast::testing
