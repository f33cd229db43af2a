#include "sim/model/parallelism.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/model/model_builders.h"
#include "tests/support/builders.h"

namespace moecast {
namespace {

using ::testing::HasSubstr;

std::string MessageOf(const ModelSpec& model, const Parallelism& p) {
  const Status status = CheckParallelism(model, p);
  return status.ok() ? "" : ToString(status.errors());
}

TEST(Parallelism, AcceptsWhatDividesEvenly) {
  const ModelSpec model = test::DeepSeekV2Lite();
  for (const Parallelism& p :
       {Parallelism{}, Parallelism{.tensor = 8}, Parallelism{.tensor = 8, .expert = 8},
        Parallelism{.tensor = 1, .data = 8, .expert = 8},
        Parallelism{.tensor = 2, .data = 4, .expert = 4}}) {
    EXPECT_EQ(MessageOf(model, p), "");
  }
}

TEST(Parallelism, KvHeadsMayBeReplicatedOnMoreRanksThanHeads) {
  EXPECT_EQ(MessageOf(test::Qwen3_235B(), {.tensor = 8, .expert = 8}), "");
}

TEST(Parallelism, NamesTheDegreeThatDoesNotDivideTheHeads) {
  const std::string message = MessageOf(test::TinyDenseModel(), {.tensor = 3});
  EXPECT_THAT(message, HasSubstr("parallelism.tensor"));
  EXPECT_THAT(message, HasSubstr("3 does not divide the model's 4 attention heads"));
  EXPECT_THAT(message, HasSubstr("neither divides nor is a multiple of the model's 2 key/value"));
}

TEST(Parallelism, RejectsDegreesBelowOneAllAtOnce) {
  const Status status =
      CheckParallelism(test::TinyMoeModel(), {.tensor = 0, .data = -1, .expert = 0});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.errors().size(), 3u);
}

TEST(Parallelism, ExpertGroupsMustDivideGpusAndExperts) {
  const ModelSpec model = test::TinyMoeModel(6, 2);
  EXPECT_THAT(MessageOf(model, {.tensor = 2, .expert = 4}),
              HasSubstr("4 does not divide the replica's 2 GPUs"));
  EXPECT_THAT(MessageOf(model, {.tensor = 4, .expert = 4}),
              HasSubstr("4 does not divide the model's 6 routed experts per layer"));
}

TEST(Parallelism, AnExpertCannotBeSplitOverMoreGpusThanDivideItsColumns) {
  EXPECT_THAT(MessageOf(test::TinyMoeModel(8, 2), {.tensor = 1, .data = 8, .expert = 1}),
              HasSubstr("splits every expert over 8 GPUs"));
}

TEST(Parallelism, ADenseModelHasNoExpertsToSplit) {
  EXPECT_THAT(MessageOf(test::TinyDenseModel(), {.tensor = 2, .expert = 2}),
              HasSubstr("has no experts; allowed: 1"));
}

}  // namespace
}  // namespace moecast
