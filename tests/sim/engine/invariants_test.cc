// The invariants of docs/invariants.md that a whole run must keep.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "tests/sim/engine/engine_fixture.h"
#include "traces/routing_synthesis.h"

namespace moecast::testing {
namespace {

/// Two replicas of two groups short of KV, so that requests are preempted, rejected and queued.
SimulatorInputs BusyInputs(std::vector<Request> requests) {
  SimulatorInputs inputs = BaseInputs(std::move(requests));
  inputs.engine = {.max_batch_tokens = 256, .max_sequences = 16, .kv_block_tokens = 16};
  inputs.engine.graph_batch_sizes = {1, 2, 4, 8, 16};
  inputs.parallelism.data = 2;
  inputs.replicas = 2;
  inputs.kv_tokens_per_group = 900;
  inputs.router = LeastRequests{};
  inputs.cost = AffineCost{.per_step = microseconds(1500), .per_token = microseconds(3)};
  return inputs;
}

std::vector<Request> BusyRequests(uint64_t seed) {
  return RandomRequests(seed, 1500, milliseconds(4), {.input = 500, .output = 120});
}

std::vector<RequestRecord> ById(std::vector<RequestRecord> rows) {
  std::ranges::sort(rows, {}, &RequestRecord::id);
  return rows;
}

// INV-1
TEST(Invariants, ArrivedRequestsAreFinishedRejectedOrUnfinished) {
  SimulatorInputs inputs = BusyInputs(BusyRequests(1));
  inputs.stop = {.horizon = std::chrono::seconds(4)};
  inputs.kv_tokens_per_group = 580;  // some requests are too long
  const Observed run = RunAndKeepRows(std::move(inputs));
  const auto count = [&run](RequestOutcome outcome) {
    return static_cast<uint64_t>(std::ranges::count(run.rows, outcome, &RequestRecord::outcome));
  };
  EXPECT_EQ(run.summary().finished, count(RequestOutcome::kFinished));
  EXPECT_EQ(run.summary().rejected, count(RequestOutcome::kRejectedTooLong));
  EXPECT_EQ(run.summary().unfinished, count(RequestOutcome::kUnfinished));
  EXPECT_EQ(run.summary().arrived, run.rows.size());
  EXPECT_GT(run.summary().rejected, 0u);
  EXPECT_GT(run.summary().unfinished, 0u);
}

// INV-2
TEST(Invariants, EqualInputsGiveEqualTrajectories) {
  const Observed first = RunAndKeepRows(BusyInputs(BusyRequests(2)));
  const Observed second = RunAndKeepRows(BusyInputs(BusyRequests(2)));
  EXPECT_EQ(first.result.fingerprint, second.result.fingerprint);
  EXPECT_EQ(first.rows, second.rows);
  EXPECT_NE(first.result.fingerprint,
            RunAndKeepRows(BusyInputs(BusyRequests(3))).result.fingerprint);
}

// INV-2. A change of this number is a change of the modelled engine: docs/model/engine.md must say
// which.
TEST(Invariants, FingerprintIsTheSameUnderEveryCompiler) {
  const RunResult result = Simulator(BusyInputs(BusyRequests(2))).Run().value();
  EXPECT_EQ(result.fingerprint, 8914411144072387935ULL);
}

// INV-2; also what the thread sanitizer looks at.
TEST(Invariants, TwoSimulatorsOnTwoThreadsRunAsIfAlone) {
  const Observed alone = RunAndKeepRows(BusyInputs(BusyRequests(4)));
  std::vector<Observed> together(2);
  std::vector<std::thread> threads;
  threads.reserve(together.size());
  for (Observed& observed : together) {
    threads.emplace_back([&observed] { observed = RunAndKeepRows(BusyInputs(BusyRequests(4))); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Observed& observed : together) {
    EXPECT_EQ(observed.result.fingerprint, alone.result.fingerprint);
    EXPECT_EQ(observed.rows, alone.rows);
  }
}

// INV-2: an event that changes no state changes no other event's outcome.
TEST(Invariants, ArrivalsThatAreRejectedChangeNothingForTheOthers) {
  const Observed without = RunAndKeepRows(BusyInputs(BusyRequests(5)));
  std::vector<Request> requests;
  uint64_t id = 1'000'000;
  for (const Request& request : BusyRequests(5)) {
    requests.push_back(request);
    requests.push_back(
        MakeRequest(id++, request.arrival.time_since_epoch(), {.input = 5000, .output = 1}));
  }
  Observed with = RunAndKeepRows(BusyInputs(std::move(requests)));
  std::erase_if(with.rows, [](const RequestRecord& row) {
    return row.outcome == RequestOutcome::kRejectedTooLong;
  });
  EXPECT_EQ(with.rows, without.rows);
}

// INV-3
TEST(Invariants, KvIsNeverOverfullAndEmptyAfterTheLastRequest) {
  const Observed run = RunAndKeepRows(BusyInputs(BusyRequests(6)));
  EXPECT_GT(run.summary().preemptions, 0u);
  for (const TimeSample& sample : run.result.samples) {
    EXPECT_GE(sample.kv_used_ratio, 0.0);
    EXPECT_LE(sample.kv_used_ratio, 1.0);
  }
}

// INV-4
TEST(Invariants, ReplicaWithWaitingWorkIsNeverIdle) {
  // Everything arrives at once: until the last request leaves, work waits or runs.
  SimulatorInputs inputs = BusyInputs(BusyRequests(7));
  inputs.replicas = 1;
  for (Request& request : std::get<RequestList>(inputs.requests).requests) request.arrival = Time{};
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  EXPECT_NEAR(result.summary.busy.count(), ToSeconds(result.end), 1e-9);
}

// INV-5
TEST(Invariants, EffectsFollowCauses) {
  for (const RequestRecord& row : RunAndKeepRows(BusyInputs(BusyRequests(8))).rows) {
    EXPECT_LE(row.arrival, row.scheduled);
    EXPECT_LT(row.scheduled, row.first_token);
    EXPECT_LE(row.first_token, row.finish);
    EXPECT_EQ(row.generated_tokens, row.output_tokens);
  }
}

template <class View>
concept ShowsOutputLength = requires(View view) {
  view.output_tokens;
};

// INV-5: a policy's view cannot carry the future.
TEST(Invariants, RoutersCannotSeeOutputLengths) {
  static_assert(ShowsOutputLength<Request>);
  static_assert(!ShowsOutputLength<RequestView>);
}

// INV-6
TEST(Invariants, NoStepTakesLessThanANanosecond) {
  SimulatorInputs inputs = BaseInputs(Burst(3, {.input = 1, .output = 4}));
  inputs.cost = AffineCost{.per_step = Duration(0)};
  const RunResult result = Simulator(std::move(inputs)).Run().value();
  EXPECT_EQ(result.end, Time(nanoseconds(4)));
}

TEST(Invariants, DoublingDurationsAndGapsDoublesEveryLatencyExactly) {
  const Observed once = RunAndKeepRows(BusyInputs(BusyRequests(9)));
  std::vector<Request> requests = BusyRequests(9);
  for (Request& request : requests) request.arrival += request.arrival.time_since_epoch();
  SimulatorInputs inputs = BusyInputs(std::move(requests));
  inputs.cost = AffineCost{.per_step = microseconds(3000), .per_token = microseconds(6)};
  const Observed twice = RunAndKeepRows(std::move(inputs));
  ASSERT_EQ(once.rows.size(), twice.rows.size());
  for (size_t i = 0; i < once.rows.size(); ++i) {
    EXPECT_EQ(twice.rows[i].id, once.rows[i].id);
    EXPECT_EQ(twice.rows[i].ttft(), 2 * once.rows[i].ttft());
    EXPECT_EQ(twice.rows[i].e2e(), 2 * once.rows[i].e2e());
  }
}

constexpr int32_t kLayers = 3;
constexpr int32_t kExperts = 16;
constexpr int32_t kTopK = 2;

std::shared_ptr<const ReplayTable> SmallTable() {
  RoutingHeader header;
  header.moe_layers = {0, 1, 2};
  header.experts = kExperts;
  header.top_k = kTopK;
  SyntheticRouting spec;
  spec.sequences = 8;
  spec.prefill_tokens = 32;
  spec.decode_tokens = 16;
  RoutingSynthesiser synthesiser(spec, header, Seed{.seed = 1});
  ReplayTable::Builder builder(header, NativeTopK{});
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) SIM_CHECK(builder.Add(chunk).ok());
  return std::make_shared<const ReplayTable>(std::move(builder).Finish().value());
}

SimulatorInputs ReplayInputs(Router router, int64_t kv_tokens) {
  SimulatorInputs inputs = BusyInputs(BusyRequests(10));
  inputs.router = router;
  inputs.kv_tokens_per_group = kv_tokens;
  inputs.moe_layers = kLayers;
  inputs.routing =
      ReplaySource(SmallTable(), LoadShape{.expert_ranks = 1, .tile_rows = 1}, Seed{.seed = 2});
  return inputs;
}

// INV-7
TEST(Invariants, EveryRoutedRowIsCountedOncePerLayerAndExpert) {
  const Observed run = RunAndKeepRows(ReplayInputs(LeastRequests{}, 900));
  ASSERT_GT(run.summary().preemptions, 0u);
  const std::vector<uint64_t>& totals = run.result.expert_totals;
  ASSERT_EQ(totals.size(), static_cast<size_t>(kLayers * kExperts));
  const uint64_t assignments = std::accumulate(totals.begin(), totals.end(), uint64_t{0});
  const RoutingNotes& notes = run.result.routing;
  EXPECT_EQ(assignments, (notes.prefill_rows + notes.decode_rows) * kLayers * kTopK);
}

// INV-8
TEST(Invariants, TwoPoliciesSeeIdenticalArrivalsLengthsAndRouting) {
  constexpr int64_t kPlenty = 1 << 20;  // no preemption: every token is routed once
  const Observed a = RunAndKeepRows(ReplayInputs(RoundRobin{}, kPlenty));
  const Observed b = RunAndKeepRows(ReplayInputs(LeastKv{}, kPlenty));
  EXPECT_NE(a.result.fingerprint, b.result.fingerprint);
  const std::vector<RequestRecord> rows_a = ById(a.rows);
  const std::vector<RequestRecord> rows_b = ById(b.rows);
  ASSERT_EQ(rows_a.size(), rows_b.size());
  for (size_t i = 0; i < rows_a.size(); ++i) {
    EXPECT_EQ(rows_a[i].arrival, rows_b[i].arrival);
    EXPECT_EQ(rows_a[i].input_tokens, rows_b[i].input_tokens);
    EXPECT_EQ(rows_a[i].output_tokens, rows_b[i].output_tokens);
  }
  EXPECT_EQ(a.result.expert_totals, b.result.expert_totals);
}

}  // namespace
}  // namespace moecast::testing
