// Which collectives each combination of tensor, data and expert parallelism runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/model/lower.h"
#include "tests/sim/model/model_builders.h"
#include "tests/support/builders.h"

namespace moecast {
namespace {

constexpr int64_t kRows = 10;

/// "name x count" of every collective of a decode step with kRows rows per group.
std::vector<std::string> CollectivesOf(const ModelSpec& model, const Parallelism& p,
                                       std::vector<CountedOp>& ops) {
  AttentionLoad load;
  load.decode_sequences = kRows;
  load.decode_context = kRows;
  const std::vector<AttentionLoad> groups(static_cast<size_t>(p.data), load);
  static std::vector<ExpertLoad> experts;
  experts.assign(static_cast<size_t>(model.moe_layer_count() * p.expert), ExpertLoad{});
  const StepShape step{.attention = groups,
                       .rows_per_group = kRows,
                       .logit_rows_per_group = kRows,
                       .tokens = kRows * p.data,
                       .graph = true,
                       .experts = experts};
  Lowering(model, p, test::Bf16Kv(model)).Lower(step, load, ops);
  std::vector<std::string> names;
  for (const CountedOp& op : ops) {
    const std::string name(OpName(op.op));
    if (name.starts_with("collective.")) names.push_back(name + " x " + std::to_string(op.count));
  }
  return names;
}

std::vector<std::string> CollectivesOf(const ModelSpec& model, const Parallelism& p) {
  std::vector<CountedOp> ops;
  return CollectivesOf(model, p, ops);
}

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LowerCollectives, OneGpuRunsNone) {
  EXPECT_THAT(CollectivesOf(test::TinyMoeModel(), {}), IsEmpty());
}

TEST(LowerCollectives, TensorParallelismReducesAfterAttentionAndAfterFeedForward) {
  EXPECT_THAT(CollectivesOf(test::TinyDenseModel(), {.tensor = 2}),
              ElementsAre("collective.all_reduce x 1", "collective.all_reduce x 2",
                          "collective.all_reduce x 2", "collective.all_gather x 1"));
}

TEST(LowerCollectives, OneAttentionGroupNeedsNoDispatchBecauseEveryGpuHasEveryToken) {
  const ModelSpec model = test::TinyMoeModel();
  const std::vector<std::string> sliced = CollectivesOf(model, {.tensor = 2, .expert = 1});
  EXPECT_EQ(sliced, CollectivesOf(model, {.tensor = 2, .expert = 2}));
  EXPECT_THAT(sliced, ElementsAre("collective.all_reduce x 1", "collective.all_reduce x 2",
                                  "collective.all_reduce x 1", "collective.all_reduce x 1",
                                  "collective.all_gather x 1"));
}

TEST(LowerCollectives, DataParallelAttentionWithExpertGroupsDispatchesAndCombines) {
  EXPECT_THAT(CollectivesOf(test::TinyMoeModel(), {.tensor = 1, .data = 2, .expert = 2}),
              ElementsAre("collective.dispatch_combine x 2"));
}

TEST(LowerCollectives, DataParallelAttentionWithSlicedExpertsGathersAndScatters) {
  std::vector<CountedOp> ops;
  EXPECT_THAT(CollectivesOf(test::TinyMoeModel(), {.tensor = 1, .data = 2, .expert = 1}, ops),
              ElementsAre("collective.all_gather x 1", "collective.reduce_scatter x 1"));
  std::vector<double> bytes;
  for (const CountedOp& op : ops) {
    if (const auto* c = std::get_if<Collective>(&op.op)) bytes.push_back(c->bytes);
  }
  // hidden 8 in bf16: a shard of one group's rows, then a vector of both groups' rows.
  EXPECT_THAT(bytes, ElementsAre(kRows * 8 * 2, 2 * kRows * 8 * 2));
}

TEST(LowerCollectives, SharedExpertsOfATensorGroupJoinTheGatherAfterCombine) {
  const ModelSpec model = test::DeepSeekV2Lite();
  EXPECT_THAT(CollectivesOf(model, {.tensor = 2, .data = 2, .expert = 4}),
              ElementsAre("collective.all_reduce x 1", "collective.all_reduce x 27",
                          "collective.all_reduce x 1", "collective.reduce_scatter x 26",
                          "collective.dispatch_combine x 52", "collective.all_gather x 26",
                          "collective.all_gather x 1"));
}

}  // namespace
}  // namespace moecast
