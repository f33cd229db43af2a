// Fitting: a twin fitted to what a known twin draws comes near it on other draws.
#include "traces/twin/twin_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/support/temporary_folder.h"
#include "traces/routing_synthesis.h"
#include "traces/routing_writer.h"
#include "traces/twin/parametric_twin.h"
#include "traces/twin/score_shape.h"

namespace moecast {
namespace {

RoutingHeader Header(bool scores) {
  RoutingHeader header{
      .source = "test", .model = "test", .moe_layers = {1, 2, 3}, .experts = 32, .top_k = 4};
  header.has_scores = scores;
  return header;
}

SyntheticRouting Lively() {
  return {.popularity_spread = 0.9,
          .topics = 1000,
          .topic_strength = 0.3,
          .stickiness = 0.4,
          .stickiness_decay = 0.8,
          .score_temperature = 1.5,
          .sequences = 64,
          .prefill_tokens = 64,
          .decode_tokens = 32};
}

void WriteTrace(const std::filesystem::path& path, const SyntheticRouting& parameters,
                const RoutingHeader& header, uint64_t seed) {
  RoutingSynthesiser synthesiser(TwinFromParameters(parameters, header, {1}),
                                 {.seed = seed, .replication = 0});
  RoutingWriter writer = RoutingWriter::Create(path, header).value();
  RoutingChunk chunk;
  while (synthesiser.Next(chunk)) ASSERT_TRUE(writer.Add(chunk).ok());
  ASSERT_TRUE(writer.Commit().ok());
}

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(TwinFit, DrawsWhatAnotherDrawOfItsSourceHas) {
  const test::TemporaryFolder folder;
  WriteTrace(folder / "fit", Lively(), Header(true), 1);
  WriteTrace(folder / "judge", Lively(), Header(true), 2);
  const FitInput input = ReadFitInput({folder / "fit"}, {}).value();
  const FitInput judge = ReadFitInput({folder / "judge"}, {}).value();
  const TwinFit fit = FitTwin(input, {.rows_per_round = 100'000});
  const TwinMoments wanted = MeasureMoments(judge.sample, {.far_lag = 32});
  EXPECT_NEAR(Sum(fit.drawn.adjacent) / Sum(wanted.adjacent), 1, 0.03);
  EXPECT_NEAR(Sum(fit.drawn.across) / Sum(wanted.across), 1, 0.03);
  ASSERT_GE(wanted.windows.size(), fit.drawn.windows.size());
  for (size_t i = 0; i < fit.drawn.windows.size(); ++i) {
    EXPECT_NEAR(fit.drawn.windows[i] / wanted.windows[i], 1, 0.02) << "window " << (2 << i);
  }
  EXPECT_EQ(fit.twin.prefill_tokens, std::vector<double>{64});
  EXPECT_EQ(fit.twin.decode_tokens, std::vector<double>{32});
}

TEST(TwinFit, IsTheSameForTheSameInput) {
  const test::TemporaryFolder folder;
  SyntheticRouting few = Lively();
  few.sequences = 8;
  WriteTrace(folder / "fit", few, Header(false), 1);
  const FitInput input = ReadFitInput({folder / "fit"}, {}).value();
  const TwinFitOptions options = {.rounds = 3, .rows_per_round = 10'000};
  EXPECT_EQ(FitTwin(input, options).twin.domains, FitTwin(input, options).twin.domains);
}

// E[ln ratio] = gap, and the tail makes the chosen scores the share they were drawn with.
TEST(TwinFit, RecoversTheShapeOfScores) {
  const test::TemporaryFolder folder;
  WriteTrace(folder / "fit", Lively(), Header(true), 1);
  const FitInput input = ReadFitInput({folder / "fit"}, {}).value();
  const TwinScores drawn = TwinFromParameters(Lively(), Header(true), {1}).scores;
  for (size_t i = 0; i < drawn.gaps.size(); ++i)
    EXPECT_NEAR(input.scores.gaps[i], drawn.gaps[i], 0.02);
  for (size_t l = 0; l < 3; ++l) EXPECT_NEAR(input.scores.tail[l] / drawn.tail[l], 1, 0.02);
}

TEST(TwinFit, RefusesOneSequenceAndTwoShapes) {
  const test::TemporaryFolder folder;
  SyntheticRouting one = Lively();
  one.sequences = 1;
  WriteTrace(folder / "one", one, Header(false), 1);
  const auto single = ReadFitInput({folder / "one"}, {});
  ASSERT_FALSE(single.ok());
  EXPECT_THAT(ToString(single.errors()), ::testing::HasSubstr("at least 2"));
  RoutingHeader other = Header(false);
  other.experts = 16;
  WriteTrace(folder / "other", one, other, 1);
  const auto mixed = ReadFitInput({folder / "one", folder / "other"}, {});
  ASSERT_FALSE(mixed.ok());
  EXPECT_THAT(ToString(mixed.errors()), ::testing::HasSubstr("one twin has one shape"));
}

}  // namespace
}  // namespace moecast
