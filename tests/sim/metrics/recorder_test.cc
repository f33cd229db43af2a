#include "sim/metrics/recorder.h"

#include <gtest/gtest.h>

#include <vector>

namespace moecast {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Arrives at `arrival`, is scheduled 10 ms later, first token at 50 ms, `tokens` in all, 20 ms
/// apart.
RequestRecord Finished(Duration arrival, int64_t tokens) {
  RequestRecord record;
  record.outcome = RequestOutcome::kFinished;
  record.arrival = Time(arrival);
  record.scheduled = record.arrival + milliseconds(10);
  record.first_token = record.arrival + milliseconds(50);
  record.finish = record.first_token + (tokens - 1) * milliseconds(20);
  record.input_tokens = 100;
  record.output_tokens = tokens;
  record.generated_tokens = tokens;
  return record;
}

TEST(Recorder, LatenciesFollowTheirDefinitions) {
  Recorder recorder({});
  recorder.OnArrival(Time{});
  recorder.OnRequest(Finished(Duration(0), 6));
  const Summary summary = recorder.Finish(Time(seconds(1)));
  EXPECT_DOUBLE_EQ(summary.ttft.mean, 0.05);
  EXPECT_DOUBLE_EQ(summary.e2e.mean, 0.15);
  EXPECT_DOUBLE_EQ(summary.tpot.mean, 0.02);
  EXPECT_DOUBLE_EQ(summary.queue.mean, 0.01);
  EXPECT_DOUBLE_EQ(summary.window.count(), 0.15) << "the window ends with the last finish";
  EXPECT_DOUBLE_EQ(summary.output_throughput, 6 / 0.15);
  EXPECT_DOUBLE_EQ(summary.total_throughput, 106 / 0.15);
}

TEST(Recorder, WithoutAMeasuredRequestThereIsNoVerdict) {
  RequestRecord rejected = Finished(Duration(0), 6);
  rejected.outcome = RequestOutcome::kRejectedTooLong;
  Recorder recorder({});
  recorder.OnArrival(Time{});
  recorder.OnRequest(rejected);
  EXPECT_EQ(recorder.Finish(Time(seconds(1))).verdict, Verdict::kNone);

  Recorder measured({});
  measured.OnArrival(Time{});
  measured.OnRequest(Finished(Duration(0), 6));
  EXPECT_EQ(measured.Finish(Time(seconds(1))).verdict, Verdict::kStable);
}

TEST(Recorder, CountsRequestsLongerThanTheModelsPositionsButNotThoseItRejected) {
  RecorderConfig config;
  config.max_positions = 106;  // a prompt of 100 tokens and 6
  Recorder recorder(config);
  RequestRecord rejected = Finished(Duration(0), 50);
  rejected.outcome = RequestOutcome::kRejectedTooLong;
  RequestRecord unfinished = Finished(Duration(0), 50);
  unfinished.outcome = RequestOutcome::kUnfinished;
  for (const RequestRecord& record :
       {Finished(Duration(0), 6), Finished(Duration(0), 7), rejected, unfinished}) {
    recorder.OnArrival(Time{});
    recorder.OnRequest(record);
  }
  EXPECT_EQ(recorder.Finish(Time(seconds(1))).beyond_positions, 2u);
}

TEST(Recorder, SingleTokenRequestsHaveNoTpot) {
  Recorder recorder({});
  recorder.OnArrival(Time{});
  recorder.OnRequest(Finished(Duration(0), 1));
  EXPECT_EQ(recorder.Finish(Time(seconds(1))).tpot.count, 0u);
}

TEST(Recorder, GoodputCountsRequestsThatMeetEveryBound) {
  RecorderConfig config;
  config.slo = {.ttft = milliseconds(60), .tpot = {}, .e2e = milliseconds(100)};
  Recorder recorder(config);
  recorder.OnArrival(Time{});
  recorder.OnRequest(Finished(Duration(0), 3));    // e2e 90 ms
  recorder.OnRequest(Finished(Duration(0), 100));  // e2e 2030 ms
  const Summary summary = recorder.Finish(Time(seconds(3)));
  ASSERT_TRUE(summary.goodput.has_value());
  EXPECT_DOUBLE_EQ(*summary.goodput, 1 / 2.03);
  EXPECT_DOUBLE_EQ(summary.request_throughput, 2 / 2.03);
}

TEST(Recorder, WithoutAnSloThereIsNoGoodput) {
  Recorder recorder({});
  EXPECT_FALSE(recorder.Finish(Time{}).goodput.has_value());
}

TEST(Recorder, WindowOpensWhenTheLastWarmupRequestFinishes) {
  RecorderConfig config;
  config.warmup_requests = 2;
  Recorder recorder(config);
  for (int i = 0; i < 4; ++i) {
    recorder.OnArrival(Time(seconds(i)));
    recorder.OnInterTokenGap(milliseconds(20), 5);
    recorder.OnRequest(Finished(seconds(i), 6));
  }
  const Summary summary = recorder.Finish(Time(seconds(9)));
  EXPECT_EQ(summary.finished, 4u);
  EXPECT_EQ(summary.measured, 2u);
  EXPECT_DOUBLE_EQ(summary.window.count(), 2.0);
  EXPECT_EQ(summary.itl.count, 10u);
}

TEST(Recorder, EqualGapsInARowCountEachOfTheirTokens) {
  Recorder recorder({});
  recorder.OnInterTokenGap(milliseconds(10), 3);
  recorder.OnInterTokenGap(milliseconds(10), 4);
  recorder.OnInterTokenGap(milliseconds(40), 1);
  const Summary summary = recorder.Finish(Time{});
  EXPECT_EQ(summary.itl.count, 8u);
  EXPECT_NEAR(summary.itl.mean, (7 * 0.01 + 0.04) / 8, 1e-15);
  EXPECT_DOUBLE_EQ(summary.itl.median, 0.01);
}

TEST(Recorder, MeansWeighStatesByTimeInsideTheWindow) {
  Recorder recorder({});
  recorder.OnState(Time(seconds(1)), {.running = 7});
  recorder.OnArrival(Time(seconds(2)));  // the window opens
  recorder.OnState(Time(seconds(2)), {.running = 1, .waiting = 0, .kv_used_ratio = 0.5});
  recorder.OnState(Time(seconds(4)), {.running = 3, .waiting = 1, .kv_used_ratio = 1.0});
  RequestRecord record = Finished(seconds(2), 2);
  record.finish = Time(seconds(6));
  recorder.OnRequest(record);
  const Summary summary = recorder.Finish(Time(seconds(60)));
  EXPECT_DOUBLE_EQ(summary.mean_running, 2.0);
  EXPECT_DOUBLE_EQ(summary.mean_waiting, 0.5);
  EXPECT_DOUBLE_EQ(summary.mean_kv_used_ratio, 0.75);
}

TEST(Recorder, SinkReceivesEveryRowInFinishOrderInBoundedBatches) {
  std::vector<RequestRecord> rows;
  size_t largest = 0;
  RecorderConfig config;
  config.sink = [&](std::span<const RequestRecord> batch) {
    largest = std::max(largest, batch.size());
    rows.insert(rows.end(), batch.begin(), batch.end());
  };
  Recorder recorder(config);
  constexpr uint64_t kRows = 10'000;
  for (uint64_t i = 0; i < kRows; ++i) {
    RequestRecord record = Finished(milliseconds(i), 2);
    record.id = RequestId(i);
    recorder.OnRequest(record);
  }
  (void)recorder.Finish(Time(seconds(100)));
  ASSERT_EQ(rows.size(), kRows);
  for (uint64_t i = 0; i < kRows; ++i) EXPECT_EQ(rows[i].id, RequestId(i));
  EXPECT_LT(largest, kRows);
}

TEST(Recorder, StepsAddUpByPartAndLabel) {
  Recorder recorder({});
  StepRecord step;
  step.end = Time(milliseconds(3));
  step.time.total = milliseconds(3);
  step.time.attention = Seconds(1e-3);
  step.time.experts = Seconds(2e-3);
  step.time.by_label[static_cast<size_t>(Label::kAnalytic)] = Seconds(3e-3);
  step.decode_sequences = 4;
  step.preemptions = 1;
  step.distinct_experts = 20;
  step.rank_imbalance = 1.5;
  recorder.OnStep(step);
  recorder.OnStep(step);
  const Summary summary = recorder.Finish(Time(seconds(1)));
  EXPECT_EQ(summary.steps, 2u);
  EXPECT_EQ(summary.preemptions, 2u);
  EXPECT_DOUBLE_EQ(summary.busy.count(), 6e-3);
  EXPECT_DOUBLE_EQ(summary.attention.count(), 2e-3);
  EXPECT_DOUBLE_EQ(summary.by_label[static_cast<size_t>(Label::kAnalytic)].count(), 6e-3);
  EXPECT_DOUBLE_EQ(summary.mean_decode_batch, 4.0);
  EXPECT_DOUBLE_EQ(summary.mean_distinct_experts, 20.0);
  EXPECT_DOUBLE_EQ(summary.mean_rank_imbalance, 1.5);
}

}  // namespace
}  // namespace moecast
