#include "sim/engine/replica.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/sim/engine/engine_fixture.h"

namespace moecast::testing {
namespace {

/// The rows of a step of `rows` sequences after ReplayGraph, or 0 when it stays eager.
int64_t GraphRows(std::vector<int64_t> captured, int64_t rows) {
  StepShape shape{.rows_per_group = rows, .logit_rows_per_group = rows};
  ReplayGraph(captured, shape);
  EXPECT_EQ(shape.logit_rows_per_group, shape.rows_per_group);
  EXPECT_TRUE(shape.graph || shape.rows_per_group == rows);
  return shape.graph ? shape.rows_per_group : 0;
}

TEST(ReplayGraph, TakesTheNextCapturedSizeAndNoneAboveTheLargest) {
  EXPECT_EQ(GraphRows({1, 2, 4, 8}, 1), 1);
  EXPECT_EQ(GraphRows({1, 2, 4, 8}, 3), 4);
  EXPECT_EQ(GraphRows({1, 2, 4, 8}, 8), 8);
  EXPECT_EQ(GraphRows({1, 2, 4, 8}, 9), 0);
  EXPECT_EQ(GraphRows({}, 1), 0);
}

Sequence MakeSequence(uint64_t id, Lengths lengths) {
  Sequence sequence;
  sequence.record.id = RequestId(id);
  sequence.record.input_tokens = lengths.input;
  sequence.record.output_tokens = lengths.output;
  return sequence;
}

Replica::Config TwoGroups() {
  return {.engine = {.max_batch_tokens = 64, .max_sequences = 8, .kv_block_tokens = 4},
          .parallelism = {.data = 2},
          .kv_tokens_per_group = 1000};
}

TEST(Replica, RequestsGoToTheGroupWithTheFewest) {
  Replica replica(TwoGroups());
  for (uint64_t id = 0; id < 3; ++id) replica.Submit(MakeSequence(id, {.input = 4, .output = 2}));
  EXPECT_EQ(replica.groups()[0].waiting(), 2);
  EXPECT_EQ(replica.groups()[1].waiting(), 1);
}

TEST(Replica, GroupsStepInLockstepAndEmitTogether) {
  Replica replica(TwoGroups());
  CostModel cost = AffineCost{.per_token = Duration(10)};
  RoutingSource routing;
  replica.Submit(MakeSequence(0, {.input = 40, .output = 1}));
  replica.Submit(MakeSequence(1, {.input = 4, .output = 1}));
  const StepRecord& step = replica.StartStep(Time{}, cost, routing);
  EXPECT_EQ(step.end, Time(Duration(1 + 440)));
  const StepOutcome& outcome = replica.FinishStep(routing);
  ASSERT_EQ(outcome.records.size(), 2u);
  EXPECT_EQ(outcome.records[0].finish, outcome.records[1].finish);
}

/// Padding rows that were routed in a step of five and four decodes, captured at eight.
uint64_t PaddingRowsOfADecodeStep(GraphPadding padding) {
  Replica::Config config = TwoGroups();
  config.engine.graph_batch_sizes = {4, 8};
  config.engine.padding = padding;
  config.moe_layers = 1;
  Replica replica(config);
  CostModel cost;
  RoutingSource routing = UniformSource(1, 16, {2}, LoadShape{.expert_ranks = 1, .tile_rows = 1});
  for (uint64_t id = 0; id < 9; ++id) replica.Submit(MakeSequence(id, {.input = 4, .output = 3}));
  replica.StartStep(Time{}, cost, routing);
  replica.FinishStep(routing);
  replica.StartStep(Time(Duration(1)), cost, routing);
  replica.FinishStep(routing);
  const RoutingNotes notes = std::get<UniformSource>(routing).notes();
  EXPECT_EQ(notes.decode_rows, 9u);
  return notes.padding_rows;
}

TEST(Replica, MaskedPaddingRoutesNothing) {
  EXPECT_EQ(PaddingRowsOfADecodeStep(GraphPadding::kMasked), 0u);
}

TEST(Replica, RoutedPaddingFillsEveryGroupToTheCapturedSize) {
  EXPECT_EQ(PaddingRowsOfADecodeStep(GraphPadding::kRouted), 2u * 8 - 9);
}

TEST(Replica, ViewAddsUpItsGroups) {
  Replica replica(TwoGroups());
  CostModel cost;
  RoutingSource routing;
  for (uint64_t id = 0; id < 2; ++id) replica.Submit(MakeSequence(id, {.input = 5, .output = 2}));
  EXPECT_EQ(replica.View().waiting_requests, 2);
  replica.StartStep(Time{}, cost, routing);
  const ReplicaView view = replica.View();
  EXPECT_EQ(view.running_requests, 2);
  EXPECT_EQ(view.kv_tokens_used, 2 * 8);
  EXPECT_EQ(view.kv_tokens_total, 2 * 1000);
}

}  // namespace
}  // namespace moecast::testing
