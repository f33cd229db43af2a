// Queueing results with a closed form, against the engine. docs/model/engine.md, "Checks".
#include <gtest/gtest.h>

#include "tests/sim/engine/engine_fixture.h"

namespace moecast::testing {
namespace {

RequestSource PoissonSource(double rate_per_s, Lengths lengths) {
  return RequestSource::Open(
             SyntheticWorkload{.arrivals = PoissonArrivals{.rate_per_s = rate_per_s},
                               .input = FixedLength{.tokens = lengths.input},
                               .output = FixedLength{.tokens = lengths.output}},
             Seed{.seed = 11})
      .value();
}

/// One request at a time, each one step of 1 ms.
SimulatorInputs SingleServer(double utilisation, uint64_t requests) {
  SimulatorInputs inputs = BaseInputs({});
  inputs.engine.max_sequences = 1;
  inputs.requests = PoissonSource(1000.0 * utilisation, {.input = 1, .output = 1});
  inputs.stop.requests = requests;
  return inputs;
}

class MD1 : public ::testing::TestWithParam<double> {};

// Pollaczek-Khinchine with constant service: W = rho * s / (2 (1 - rho)).
TEST_P(MD1, MeanWaitIsWithinOnePercent) {
  const double rho = GetParam();
  const Summary summary = Simulator(SingleServer(rho, 1'500'000)).Run().value().summary;
  const double expected = rho * 1e-3 / (2.0 * (1.0 - rho));
  EXPECT_NEAR(summary.queue.mean / expected, 1.0, 0.01);
  EXPECT_NEAR(summary.mean_running, rho, 0.01 * rho);
  EXPECT_EQ(summary.verdict, Verdict::kStable);
}
INSTANTIATE_TEST_SUITE_P(Theory, MD1, ::testing::Values(0.3, 0.5, 0.7));

TEST(Theory, LittlesLawHoldsExactlyOverADrainedRun) {
  SimulatorInputs inputs =
      BaseInputs(RandomRequests(3, 5000, milliseconds(2), {.input = 300, .output = 40}));
  inputs.engine.max_sequences = 8;
  const Observed run = RunAndKeepRows(std::move(inputs));
  double request_seconds = 0;
  for (const RequestRecord& row : run.rows) request_seconds += ToSeconds(row.e2e());
  const Summary& s = run.summary();
  EXPECT_NEAR((s.mean_running + s.mean_waiting) * s.window.count(), request_seconds,
              1e-9 * request_seconds);
  EXPECT_NEAR(s.mean_running + s.mean_waiting, s.request_throughput * s.e2e.mean,
              1e-9 * s.mean_running);
}

TEST(Theory, OverloadServesAtCapacityAndIsCalledOverloaded) {
  const Summary summary = Simulator(SingleServer(1.25, 100'000)).Run().value().summary;
  EXPECT_NEAR(summary.request_throughput, 1000.0, 1.0);
  EXPECT_EQ(summary.verdict, Verdict::kOverloaded);
}

TEST(Theory, BusyTimeIsWorkDividedByBatchForASaturatedReplica) {
  // 640 requests of 1 + 9 tokens, 64 at a time: ten waves of ten steps.
  const Observed run = RunAndKeepRows(BaseInputs(Burst(640, {.input = 1, .output = 10})));
  EXPECT_EQ(run.result.end, Time(milliseconds(100)));
  EXPECT_NEAR(run.summary().busy.count(), 0.1, 1e-9);
}

}  // namespace
}  // namespace moecast::testing
